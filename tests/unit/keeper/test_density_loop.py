"""The keeper's side of the RAM semaphore, with an own process as the agent and a healer that only listens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.density import model
from holdfast.density.model import Phase, Shed, Thaw
from holdfast.healing.model import CalledBack, Ladder, Policy, SetAside, Starved
from holdfast.keeper.agent import Agent, Memory, World
from holdfast.keeper.density import groups
from holdfast.keeper.density.acts import RELIEVED_S, needed_by
from holdfast.keeper.density.loop import REST_MAX_S, Parts, Semaphore
from holdfast.keeper.density.readings import NoSleepers
from holdfast.node.cgroups import CgroupPlan
from holdfast.node.processes import starttime
from holdfast.spec.model import AgentSpec, FleetSpec, Node

MB = 1 << 20
SHED = Shed(
    victim="low",
    needer="high",
    victim_priority=1,
    needer_priority=9,
    usage_bytes=100 * MB,
    lease_bytes=120 * MB,
    rate_bytes_s=0,
    short_bytes=30 * MB,
    reason="it needs more than there is",
)


class Scene:
    """Everything around the semaphore."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.plan = CgroupPlan("none", "")
        self.ending: dict[str, int] = {}
        self.said: list[str] = []
        self.observed: list[tuple[str, Any, str]] = []
        self.killed: list[str] = []
        self.fleet = FleetSpec(node=Node(memory_bytes=256 * MB, reserve_bytes=32 * MB))
        self.semaphore = Semaphore(
            Parts(
                agents=self.agents,
                healer=self,  # type: ignore[arg-type]
                hands=self,  # type: ignore[arg-type]
                link=self,  # type: ignore[arg-type]
                places=self,  # type: ignore[arg-type]
                recorder=self,  # type: ignore[arg-type]
                tasks=None,  # type: ignore[arg-type]
                home_id="home",
                fleet=lambda: self.fleet,
            )
        )

    def agent(self, name: str, state: str = "up", **ladder: Any) -> Agent:
        spec = AgentSpec(name=name, command=("x",), working_dir="/")
        agent = self.agents[name] = Agent(spec, Policy(), Memory(ladder=Ladder(**ladder)))
        pid = os.getpid()
        agent.world = World(state=state, epoch=1, pid=pid, starttime=starttime(pid) or 0)
        return agent

    # --- what the semaphore calls --------------------------------------------------------------------------------
    def cgroups_of(self, agent: Agent) -> tuple[str, ...]:
        return ()

    def send(self, op: str, **fields: Any) -> bool:
        self.said.append(op)
        return True

    def flush(self) -> None:
        """What was said is out already."""

    def kill(self, agent: Agent) -> None:
        self.killed.append(agent.name)

    def observe(self, agent: Agent, seen: Any, now: float, *, record: str = "", **_: Any) -> None:
        self.observed.append((agent.name, seen, record))
        if isinstance(seen, Starved):
            agent.memory.ladder = Ladder(starved=seen.on)

    def record(self, kind: str, agent: str, text: str, body: Any = None) -> None:
        self.observed.append((agent, text, kind))


def run(test: Callable[[Scene], None]) -> None:
    async def inside() -> None:
        scene = Scene()
        try:
            test(scene)
        finally:
            scene.semaphore.close()

    asyncio.run(inside())


def test_with_nobody_running_there_is_no_wake_up_and_all_the_room() -> None:
    def look(scene: Scene) -> None:
        scene.semaphore.begin()
        assert scene.semaphore._timer is None
        assert scene.semaphore.room() == 224 * MB
        assert scene.said == ["steer"]

    run(look)


def test_who_runs_is_read_and_looked_at_again() -> None:
    def look(scene: Scene) -> None:
        scene.agent("a")
        scene.semaphore.begin()
        seen, lease = scene.semaphore.seen("a"), scene.semaphore.lease("a")
        assert seen is not None
        assert lease is not None
        assert seen.phase is Phase.RUNNING
        assert seen.usage_bytes > 5 * MB
        assert lease.usage_bytes == seen.usage_bytes
        assert scene.semaphore._timer is not None

    run(look)


@pytest.mark.parametrize(
    ("state", "ladder", "phase"),
    [
        ("up", {}, Phase.RUNNING),
        ("stopping", {}, Phase.LEAVING),
        ("sweeping", {"aside": "shed"}, Phase.LEAVING),
        ("down", {"aside": "shed", "aside_mono": 1.0}, Phase.SHED),
        ("down", {"aside": "spare"}, None),
        ("waiting", {}, None),
    ],
)
def test_the_phase_follows_from_what_init_and_the_ladder_say(state: str, ladder: Any, phase: Phase | None) -> None:
    def look(scene: Scene) -> None:
        scene.agent("a", state, **ladder)
        scene.semaphore.begin()
        seen = scene.semaphore.seen("a")
        assert (None if seen is None else seen.phase) is phase

    run(look)


def test_one_that_was_told_to_end_is_on_its_way_before_init_says_so() -> None:
    def look(scene: Scene) -> None:
        scene.agent("a")
        scene.ending["a"] = 1
        scene.semaphore.begin()
        seen = scene.semaphore.seen("a")
        assert seen is not None
        assert seen.phase is Phase.LEAVING

    run(look)


def test_a_mistake_of_ours_does_not_end_the_protection(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(scene: Scene) -> None:
        def fails(*_: Any) -> Any:
            raise RuntimeError("planted")

        monkeypatch.setattr(scene.semaphore._readings, "read", fails)
        scene.semaphore.begin()
        assert scene.semaphore._timer is not None

    run(look)


def test_the_record_comes_before_the_stop_and_a_kill_after_it_is_no_second_one() -> None:
    def look(scene: Scene) -> None:
        low = scene.agent("low")
        acts = scene.semaphore._acts
        acts.carry_out([SHED, model.Stop(agent="low", grace_s=3.0)], NoSleepers(), (), 1.0)
        acts.carry_out([model.Kill(agent="low")], NoSleepers(), (), 2.0)
        text = needed_by(SHED, ())
        assert scene.observed[0] == ("low", SetAside(why="shed", text=text, grace_s=3.0), "density.shed")
        assert [record for _, _, record in scene.observed] == ["density.shed", ""]
        assert scene.observed[1][1].grace_s == 0.0
        assert scene.killed == ["low"]
        low.memory.ladder = Ladder(aside="shed")
        acts.carry_out([model.ComeBack(agent="low"), model.ComeBack(agent="nobody")], NoSleepers(), (), 3.0)
        assert isinstance(scene.observed[-1][1], CalledBack)

    run(look)


def test_the_end_of_a_wait_is_told_when_it_lasts() -> None:
    def look(scene: Scene) -> None:
        low, acts = scene.agent("low"), scene.semaphore._acts

        def told(on: bool, now: float) -> None:
            acts.carry_out([model.Starved(agent="low", on=on)], NoSleepers(), (), now)

        told(True, 1.0)
        told(False, 1.1)
        told(True, 1.2)
        told(False, 1.3)
        assert scene.semaphore.holds_back(low)
        assert [seen.on for _, seen, _ in scene.observed] == [True]
        acts.carry_out([], NoSleepers(), (), 1.4 + RELIEVED_S)
        assert [seen.on for _, seen, _ in scene.observed] == [True, False]
        assert not scene.semaphore.holds_back(low)

    run(look)


@pytest.mark.parametrize(
    ("needer", "reason", "growers", "text"),
    [
        ("high", SHED.reason, (), "went for high (priority 9), which needs 31.5 MB more"),
        ("high", "its start needs the room", (), "went for high (priority 9), whose start needs 31.5 MB more"),
        ("", "the reserve is being eaten", ("low", "b"), "went because the reserve is being eaten, most by b"),
        ("low", SHED.reason, (), "went because the node has no more memory for it"),
    ],
)
def test_why_it_goes_is_one_clause(needer: str, reason: str, growers: tuple[str, ...], text: str) -> None:
    assert needed_by(replace(SHED, needer=needer, reason=reason), growers) == text


def test_looks_that_are_asked_for_follow_one_another_only_as_fast_as_they_are_cheap() -> None:
    def look(scene: Scene) -> None:
        # Its agent is this very process, however large it has grown: nothing is scarce here by itself.
        scene.fleet = FleetSpec(node=Node(memory_bytes=1 << 50, reserve_bytes=32 * MB))
        scene.agent("a")
        semaphore, loop = scene.semaphore, asyncio.get_running_loop()
        semaphore.begin()
        semaphore._cancel()
        semaphore._rests_mono = loop.time() + 30.0  # as after a dear one
        semaphore.look()
        assert semaphore._due_mono > loop.time() + 20.0
        semaphore._told()
        assert semaphore._due_mono < loop.time() + 20.0, "what the kernel tells does not wait"
        semaphore._cancel()
        semaphore.state = replace(semaphore.state, over_mono=1.0)
        semaphore.look()
        assert semaphore._due_mono < loop.time() + 20.0, "nor does anything while memory is scarce"
        semaphore._turn()
        assert semaphore._rests_mono <= loop.time() + REST_MAX_S

    run(look)


def test_one_that_is_late_in_its_group_lets_nobody_elses_ceiling_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine a newborn came late into its group, and all ceilings were lifted until it was there."""

    def look(scene: Scene) -> None:
        scene.plan = CgroupPlan("v1", "", v1_roots={"memory": tmp_path})
        where = {"low": True, "late": False}
        for name in where:
            v1_files(tmp_path / f"{name}.1")
            scene.agent(name)
        late = scene.agents["late"]
        late.spec = replace(late.spec, priority=100)
        monkeypatch.setattr(groups, "_is_inside", lambda pid, v2, v1: where[v1[0].rpartition("/")[2].partition(".")[0]])
        scene.semaphore.begin()
        assert scene.semaphore.reading is not None
        assert scene.semaphore.reading.ceilings
        held = {one.name: one.holdable for one in scene.semaphore.reading.agents}
        assert held == {"low": True, "late": False}
        seen = scene.semaphore.seen("late")
        assert seen is not None
        assert seen.usage_bytes > 5 * MB, "it is weighed by its processes meanwhile"
        assert int((tmp_path / "low.1" / "memory.limit_in_bytes").read_text().split()[0]) < 256 * MB
        where["late"] = True
        scene.semaphore.groups._held["late"].again_mono = 0.0
        scene.semaphore._turn()
        assert scene.semaphore.reading.agents[1].holdable

    run(look)


def v1_files(directory: Path) -> None:
    directory.mkdir()
    texts = {
        "memory.stat": f"total_cache 0\ntotal_rss {40 * MB}\ntotal_shmem 0\n",
        "memory.kmem.usage_in_bytes": "0",
        "memory.usage_in_bytes": str(40 * MB),
        "memory.limit_in_bytes": "9223372036854771712",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
        "cgroup.event_control": "",
    }
    for name, text in texts.items():
        (directory / name).write_text(text)


def test_an_act_that_fails_keeps_no_other_from_being_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(scene: Scene) -> None:
        scene.agent("a")
        scene.agent("b")
        acts = scene.semaphore._acts

        def thaw(agent: Agent) -> bool:
            scene.killed.append(agent.name)
            if agent.name == "a":
                raise OSError("its group cannot be written")
            return True

        monkeypatch.setattr(scene.semaphore.groups, "thaw", thaw)
        with pytest.raises(OSError, match="cannot be written"):
            acts.carry_out([Thaw(agent="a"), Thaw(agent="b")], scene.semaphore._readings.sleepers, (), 1.0)
        assert scene.killed == ["a", "b"]

    run(look)
