"""What the keeper remembers of an agent's use: of work, not of its start; written down now and then."""

from __future__ import annotations

from holdfast import limits
from holdfast.density.model import MB, Lease
from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.density.histories import Histories
from holdfast.spec.model import AgentSpec

STARTED = 1000.0
SETTLED = STARTED + limits.HISTORY_START_S


class Scene:
    """One agent that runs, and what was written down of it."""

    def __init__(self, phase: Phase = Phase.HEALTHY, lease: Lease | None = None) -> None:
        spec = AgentSpec(name="one", command=("x",), working_dir="/")
        self.agent = Agent(spec, Policy(), Memory(ladder=Ladder(phase=phase)))
        self.agent.world.spawned_mono = STARTED
        self.written: list[str] = []
        self.histories = Histories(lambda name: lease, self.written.append)

    def look(self, now: float, used_bytes: int | None = 100 * MB, cores: float | None = 0.5) -> None:
        self.histories.looked(self.agent, used_bytes, cores, 7 * MB, now)

    @property
    def readings(self) -> int:
        return self.agent.memory.history.readings


def test_a_start_is_no_work() -> None:
    scene = Scene()
    scene.look(STARTED + 1)
    scene.look(SETTLED - 1)
    assert scene.readings == 0
    scene.look(SETTLED + 15)
    assert scene.readings == 1
    assert scene.agent.memory.history.disk_bytes == 7 * MB


def test_nothing_is_learnt_of_who_is_not_well_sleeps_or_cannot_be_read() -> None:
    for phase in (Phase.UNHEALTHY, Phase.STARTING, Phase.RECOVERING, Phase.STOPPING):
        scene = Scene(phase)
        scene.look(SETTLED)
        assert scene.readings == 0
    scene = Scene()
    scene.agent.rest_view.asleep = "frozen"
    scene.look(SETTLED)
    scene.agent.rest_view.asleep = ""
    scene.look(SETTLED, used_bytes=None)
    assert scene.readings == 0


def test_memory_is_counted_as_the_leases_count_it() -> None:
    scene = Scene(lease=Lease(usage_bytes=10 * MB, slack_bytes=0, wanted_bytes=0, ceiling_bytes=None))
    scene.look(SETTLED, used_bytes=500 * MB)
    assert scene.agent.memory.history.mark_bytes < 12 * MB


def test_it_is_written_down_at_once_and_then_every_few_minutes() -> None:
    scene = Scene()
    for number in range(41):
        scene.look(SETTLED + number * 15.0)
    assert len(scene.written) == 1 + int(600 / limits.HISTORY_KEPT_EVERY_S)
    assert scene.readings == 41


def test_cpu_from_before_this_instance_does_not_count() -> None:
    scene = Scene()
    scene.look(STARTED - 5, cores=9.0)
    scene.look(SETTLED, cores=9.0)
    assert scene.agent.memory.history.cpu == 0.0
    scene.look(SETTLED + 15, cores=0.25)
    assert scene.agent.memory.history.cpu == 0.25
