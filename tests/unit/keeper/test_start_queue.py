"""The queue of starts in a loop: who is granted what, and what everybody who waits is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from holdfast.density.model import Reading, State, Want
from holdfast.density.node_memory import Node
from holdfast.healing.model import Ladder, Phase, Policy, SlotGranted
from holdfast.keeper.acting.queue import StartQueue
from holdfast.keeper.agent import Agent, World
from holdfast.keeper.agent import Memory as Kept
from holdfast.keeper.density.starts import Starts
from holdfast.spec.model import AgentSpec, Dependency, Health, HttpProbe, Memory

MB = 1_000_000
LIGHT = Health(start_cpu_s=0.1)


def agent(name: str, need_mb: int = 100, priority: int = 50, **spec: Any) -> Agent:
    given = {"command": ("prog",), "working_dir": "/", "health": LIGHT, **spec}
    one = AgentSpec(name=name, priority=priority, memory=Memory(start_bytes=need_mb * MB), **given)
    return Agent(
        one, Policy(has_gate=one.health.http is not None), Kept(ladder=Ladder(wanted=True, phase=Phase.QUEUED))
    )


class FakeMemory:
    """A semaphore that reads when it is asked to, unless nobody ever let it. What starts hold is off its room."""

    def __init__(self, room_mb: int | None, budget_mb: int = 1000) -> None:
        self.state = State()
        self.reading: Reading | None = None
        self.node = Node(kind="declared", bytes=budget_mb * MB, reserve_bytes=0, path="", why="")
        self.pressure = 0.0
        self.want: Want | None = None
        self.free_bytes = None if room_mb is None else room_mb * MB
        self.out: Callable[[], int] = lambda: 0
        self.turned: Callable[[], None] = lambda: None

    def room(self) -> int:
        return (self.free_bytes or 0) - self._out

    def look(self) -> None:
        if self.free_bytes is not None:
            self._out = self.out()
            self.state = State(read_mono=asyncio.get_running_loop().time())
            self.reading = Reading(node_bytes=0, reserve_bytes=0, available_bytes=0, agents=())
            asyncio.get_running_loop().call_soon(self.turned)


class Ground:
    def __init__(self, memory: FakeMemory, *agents: Agent) -> None:
        self.agents = {one.name: one for one in agents}
        self.memory = memory
        self.granted: list[str] = []
        self.kept_out: dict[str, str] = {}
        recorder = SimpleNamespace(record=lambda *told: None)
        nothing = lambda *told: None  # noqa: E731
        self.starts = Starts(self.agents, recorder, changed=nothing, settled=nothing, learned=nothing)  # type: ignore[arg-type]
        memory.out = lambda: self.starts.taken_since(float("-inf"))
        self.queue = StartQueue(self.agents, self._grant, lambda: True, self.starts, memory, lambda: self.kept_out)

        memory.turned = self.queue.room_changed

    def _grant(self, one: Agent, seen: SlotGranted) -> None:
        self.granted.append(one.name)
        one.memory.ladder = replace(one.ladder, phase=Phase.STARTING)
        self.queue.changed(one)

    async def turns(self) -> None:
        """All that follows without a pause of the queue."""
        for _ in range(50):
            await asyncio.sleep(0)

    def run(self, name: str) -> None:
        one = self.agents[name]
        one.world = World(state="up", pid=7, epoch=1)
        one.memory.ladder = replace(one.ladder, phase=Phase.HEALTHY, running=True, gate_passed=True, instance=1)
        self.starts.seen(one, asyncio.get_running_loop().time())
        self.queue.changed(one)


def why(one: Agent) -> str:
    assert one.standing is not None
    return one.standing.why


def test_a_burst_is_granted_as_far_as_its_leases_fit_together_by_priority() -> None:
    async def go() -> None:
        ground = Ground(FakeMemory(250), agent("a"), agent("b"), agent("c"), agent("d", priority=90))
        ground.queue.look()
        await ground.turns()
        assert ground.granted == ["d", "a"]
        b, c = ground.agents["b"], ground.agents["c"]
        assert (b.standing and b.standing.position, c.standing and c.standing.position) == (1, 2)
        assert "needs 100 MB to start, 50 MB are free" in why(b)
        assert ground.agents["a"].standing is None
        assert ground.memory.want is not None
        assert ground.memory.want.name == "b"
        ground.memory.free_bytes = 350 * MB
        ground.memory.look()
        await ground.turns()
        assert ground.granted == ["d", "a", "b"]
        assert c.standing is not None
        assert c.standing.position == 1

    asyncio.run(go())


def test_what_was_granted_since_the_last_reading_is_taken_off_the_room() -> None:
    async def go() -> None:
        ground = Ground(FakeMemory(150), agent("a"))
        ground.queue.look()
        await ground.turns()
        late = ground.agents["b"] = agent("b")
        ground.queue.changed(late)
        await ground.turns()
        assert ground.granted == ["a"]

    asyncio.run(go())


def test_an_agent_larger_than_the_node_stays_queued_and_others_pass_it() -> None:
    async def go() -> None:
        ground = Ground(FakeMemory(900), agent("large", 1200, priority=90), agent("small"))
        ground.queue.look()
        await ground.turns()
        assert ground.granted == ["small"]
        large = ground.agents["large"]
        assert why(large) == "needs 1.2 GB to start, and the whole node has 1 GB for agents"
        assert large.standing is not None
        assert large.standing.estimate_s is None
        assert ground.memory.want is None

    asyncio.run(go())


def test_memory_pressure_and_full_disks_keep_starts_back_and_are_named() -> None:
    async def go() -> None:
        memory = FakeMemory(900)
        ground = Ground(memory, agent("a"), agent("b"))
        memory.pressure = 0.3
        ground.queue.look()
        await ground.turns()
        assert why(ground.agents["a"]).startswith("memory pressure: something waited for memory 30%")
        memory.pressure, ground.kept_out = 0.0, {"a": "the disk of / is 97% full"}
        ground.queue.look()
        await ground.turns()
        assert ground.granted == ["b"]
        assert why(ground.agents["a"]) == "the disk of / is 97% full"
        ground.kept_out = {}
        ground.queue.look()
        await ground.turns()
        assert ground.granted == ["b", "a"]

    asyncio.run(go())


def test_without_a_reading_of_the_node_a_fleet_waits_a_moment_and_then_starts_as_ever() -> None:
    async def go() -> None:
        ground = Ground(FakeMemory(None), agent("a", 99_000))
        ground.queue.look()
        await ground.turns()
        assert ground.granted == []
        while not ground.granted:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(go(), 30))


def test_who_waits_for_another_agent_stands_in_no_line() -> None:
    async def go() -> None:
        ground = Ground(FakeMemory(900), agent("a"), agent("b", depends_on=(Dependency(agent="a"),)))
        ground.queue.look()
        await ground.turns()
        b = ground.agents["b"]
        assert (ground.granted, b.standing) == (["a"], None)
        assert b.waits_for
        ground.run("a")
        await ground.turns()
        assert ground.granted == ["a", "b"]

    asyncio.run(go())


def test_a_heavy_start_keeps_its_slot_until_its_gate_and_its_lease_until_it_is_flat() -> None:
    async def go() -> None:
        heavy: dict[str, Any] = {"health": Health(start_cpu_s=1e6, http=HttpProbe(url="http://127.0.0.1:1/"))}
        ground = Ground(FakeMemory(900), agent("a", **heavy), agent("b", **heavy))
        ground.queue.look()
        await ground.turns()
        assert ground.granted == ["a"]
        assert "waits for a start slot" in why(ground.agents["b"])
        assert ground.agents["b"].standing is not None
        assert ground.agents["b"].standing.estimate_s is not None
        ground.run("a")
        await ground.turns()
        assert ground.granted == ["a", "b"]
        assert ground.starts.lease_bytes(ground.agents["a"]) == 100 * MB

    asyncio.run(go())


def test_after_a_change_of_the_fleet_nothing_is_granted_on_what_was_read_before() -> None:
    async def go() -> None:
        memory = FakeMemory(900)
        ground = Ground(memory, agent("a", 800))
        ground.kept_out = {"a": "the disk of / is 97% full"}
        ground.queue.look()
        await ground.turns()
        ground.kept_out, memory.free_bytes = {}, 300 * MB  # `up` with a smaller node
        ground.queue.fleet_changed()
        await ground.turns()
        assert ground.granted == []
        assert "300 MB are free" in why(ground.agents["a"])

    asyncio.run(go())


def test_one_that_was_shed_keeps_its_room_until_it_is_called_back_and_starts_first() -> None:
    async def go() -> None:
        shed = agent("shed", 300, priority=30)
        shed.memory.ladder = replace(shed.ladder, phase=Phase.SHED, aside="shed", aside_mono=0.0)
        ground = Ground(FakeMemory(350), shed, agent("low", 100, priority=10), agent("high", 50, priority=90))
        ground.queue.look()
        await ground.turns()
        assert ground.granted == ["high"]
        assert "kept for shed" in why(ground.agents["low"])
        assert shed.standing is None
        shed.memory.ladder = replace(shed.ladder, phase=Phase.QUEUED, aside="", aside_mono=None)
        ground.queue.changed(shed)
        await ground.turns()
        assert ground.granted == ["high", "shed"]
        shed.memory.ladder = replace(shed.ladder, wanted=False, phase=Phase.STOPPED)
        ground.starts.gone(shed)
        ground.queue.changed(shed)
        ground.memory.look()
        await ground.turns()
        assert ground.granted == ["high", "shed", "low"]

    asyncio.run(go())


def test_one_that_was_shed_and_is_stopped_by_a_person_keeps_no_room() -> None:
    async def go() -> None:
        shed = agent("shed", 300, priority=30)
        shed.memory.ladder = replace(shed.ladder, phase=Phase.SHED, aside="shed", aside_mono=0.0)
        ground = Ground(FakeMemory(350), shed, agent("low", 100, priority=10))
        ground.queue.look()
        await ground.turns()
        assert ground.granted == []
        shed.memory.ladder = replace(shed.ladder, phase=Phase.STOPPED, aside="", aside_mono=None, wanted=False)
        ground.queue.changed(shed)
        await ground.turns()
        assert ground.granted == ["low"]

    asyncio.run(go())
