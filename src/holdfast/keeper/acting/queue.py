"""Who may start now: the keeper's side of admission. One queue for all starts, for their CPU and their memory.

Invariants: an agent in QUEUED is waiting here because its ladder says so; the line kept below is only the order in
which ladders are looked at. Who waits for another agent stands in no line until that one is as it has to be. What is
granted holds its start lease before anything is done for it, and is granted on memory that was read after it asked and
after the last change of the fleet. Who was shed stands in the same order and keeps its room, but is called back by the
semaphore alone. A turn costs the same however long the line is: the whole of it is looked at once in QUEUE_LOOK_S only.
Called by the healer (an agent asks for a slot), whenever an agent changed, and when memory was read or came free.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec.structs import replace

from holdfast import limits
from holdfast.density import admission, coming_back
from holdfast.density.admission import Admitted, Waiting
from holdfast.density.model import Reading, State, Want
from holdfast.density.needs import could_have
from holdfast.density.node_memory import Node
from holdfast.healing import depends, slots
from holdfast.healing.model import Ladder, Phase, SlotGranted
from holdfast.keeper.agent import Agent
from holdfast.keeper.density.starts import Starts

LOOKED_AT = 16  # of the heavy and of the light, in one turn; when all of them got in, the next follow at once
_UNBOUNDED = 1 << 62  # where nobody can tell how much memory there is, none is asked for


class NodeMemory(Protocol):
    """What the queue asks of the RAM semaphore (density/loop.py), and tells it: `want`."""

    state: State
    reading: Reading | None
    pressure: float
    want: Want | None

    @property
    def node(self) -> Node | None: ...

    def room(self) -> int: ...

    def look(self) -> None: ...


class StartQueue:
    """`grant(agent, SlotGranted)` feeds triage; `ready()` says whether starts can be carried out at present.

    `kept_out()`: agents that a nearly full disk keeps from starting, with the reason.
    """

    def __init__(
        self,
        agents: dict[str, Agent],
        grant: Callable[[Agent, SlotGranted], None],
        ready: Callable[[], bool],
        starts: Starts,
        memory: NodeMemory,
        kept_out: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._agents = agents
        self._grant = grant
        self._ready = ready
        self._starts = starts
        self._memory = memory
        self._kept_out = kept_out
        self._granted: dict[str, float] = {}  # name -> when
        self._since: dict[str, float] = {}  # when it began to wait
        self._line: list[Waiting] = []  # in order; some may have left it
        self._returning: dict[str, Waiting] = {}  # were shed: they come into the line when the semaphore says so
        self._needs: dict[str, int] = {}
        self._in_line: set[str] = set()
        self._stale = True
        self._held_up = 0  # how many wait for other agents
        self._awaited: set[str] = set()  # for whom
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._timer_due = 0.0
        self._whole_mono = float("-inf")  # when the whole line was looked at
        self._came_back = False  # a lease, since the last reading
        self._asked_mono = float("-inf")  # since when somebody waits for whom no memory was read yet
        self._pressed = False
        self._cores = len(os.sched_getaffinity(0))

    def look(self) -> None:
        """Look soon; many calls in one turn of the loop are one look."""
        self._stale = True
        self._schedule()

    def fleet_changed(self) -> None:
        """The node may be another one, and who waits may need another amount: what was read before says nothing."""
        self._asked_mono = asyncio.get_running_loop().time()
        self.look()

    def room_changed(self) -> None:
        """Memory came free, or was read again. Costs nothing while nobody waits."""
        if self._in_line:
            self._schedule()

    def changed(self, agent: Agent) -> None:
        """An agent's ladder changed: it may have given its slot back, or wait for one."""
        queued = agent.ladder.phase is Phase.QUEUED
        if not queued:
            agent.standing = None
        awaited = self._held_up and agent.name in self._awaited
        came_or_went = _is_shed(agent) != (agent.name in self._returning)
        if awaited or came_or_went or (queued and agent.name not in self._in_line):
            self._stale = True
        if queued or awaited or (came_or_went and self._in_line) or agent.name in self._granted:
            self._schedule()

    def lease_back(self) -> None:
        """A start gave its lease back: the room does not know it before the next reading."""
        self._came_back = True
        self.room_changed()

    def _schedule(self, delay_s: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = loop.call_at(due, self._evaluate) if delay_s else loop.call_soon(self._evaluate)

    # --- a turn --------------------------------------------------------------------------------------------------
    def _evaluate(self) -> None:
        self._timer = None
        if not self._ready():
            self._memory.want = None  # nobody goes for a start that cannot be carried out
            return
        now = asyncio.get_running_loop().time()
        for name in [name for name in self._granted if not self._is(name, Phase.STARTING)]:
            del self._granted[name]
            if name in self._agents:
                self._starts.seen(self._agents[name], now)  # a grant that came to nothing holds no memory
        if self._stale:
            self._line_up(now)
        room = self._room(now)
        if not self._line or room is None:
            self._memory.want = None
            if self._line:
                self._schedule(limits.MEMORY_FIRST_LOOK_S / 5)
            return
        whole = now - self._whole_mono >= limits.QUEUE_LOOK_S or len(self._line) <= LOOKED_AT
        admitted = self._admit(self._all(now) if whole else self._front(), room, whole, now)
        self._memory.want = admitted.want
        for standing in admitted.standings:
            self._agents[standing.name].standing = standing
        for name in admitted.names:
            self._granted[name] = now
            self._in_line.discard(name)
            self._starts.granted(self._agents[name], self._needs[name], now)
            self._grant(self._agents[name], SlotGranted())
        if admitted.standings:
            self._ask_for_room(admitted, now)
        if admitted.names and not whole:
            self._schedule()  # others may follow them to the front
        if self._line:
            self._schedule(limits.QUEUE_LOOK_S)

    def _room(self, now: float) -> tuple[int, int] | None:
        """Bytes that starts may take now, and ever. None: memory is being read for those who just came."""
        memory, read_mono = self._memory, self._memory.state.read_mono
        if self._line and read_mono < self._asked_mono and now - self._asked_mono < limits.MEMORY_FIRST_LOOK_S:
            memory.look()
            return None
        if memory.reading is None:
            return _UNBOUNDED, _UNBOUNDED
        budget = memory.state.budget_bytes if memory.node is None else memory.node.budget_bytes
        return memory.room() - self._starts.taken_since(read_mono), budget

    def _ask_for_room(self, admitted: Admitted, now: float) -> None:
        """Somebody waits: perhaps for what came free after the last reading, which must not grow old either."""
        waits_for_memory = self._pressed or admitted.want is not None
        old = now - self._memory.state.read_mono > limits.QUEUE_LOOK_S
        if waits_for_memory and (old or self._came_back):
            self._came_back = False
            self._memory.look()

    def _all(self, now: float) -> list[Waiting]:
        self._whole_mono = now
        self._line = [one for one in self._line if self._is(one.name, Phase.QUEUED)]
        return [*self._line, *self._still_out()]

    def _front(self) -> list[Waiting]:
        """Those who can be granted anything in this turn, at most."""
        heavy: list[Waiting] = []
        light: list[Waiting] = []
        for one in self._line:
            part = heavy if one.slots > 0 else light
            if len(part) < LOOKED_AT and self._is(one.name, Phase.QUEUED):
                part.append(one)
            elif len(heavy) + len(light) == 2 * LOOKED_AT:
                break
        return [*heavy, *light, *self._still_out()]

    def _still_out(self) -> list[Waiting]:
        """Those who were shed and are not called back."""
        return [one for one in self._returning.values() if self._comes_back(one.name)]

    def _comes_back(self, name: str) -> bool:
        agent = self._agents.get(name)
        return agent is not None and _is_shed(agent)

    def _admit(self, waiting: list[Waiting], room: tuple[int, int], whole: bool, now: float) -> Admitted:
        kept_out = self._kept_out()
        if kept_out:
            waiting = [replace(one, held=kept_out.get(one.name, one.held)) for one in waiting]
        reading = self._memory.reading
        could = None if reading is None else functools.partial(could_have, reading, self._memory.state.free_bytes)
        return admission.admit(waiting, self._starting(whole), *room, self._cores, self._paused(), now, could)

    def _starting(self, whole: bool) -> list[admission.Starting]:
        """Starts under way: for their slots until the gate, for their leases (which only foretell) until flat."""
        out = self._starts.out() if whole else {}
        names = {name: since for name, (since, _) in out.items()} | self._granted
        return [
            admission.Starting(
                name=name,
                slots=self._slots(self._agents[name]) if name in self._granted else 0.0,
                since_mono=since,
                start_s=self._starts.takes_s(self._agents[name]),
                lease_bytes=out[name][1] if name in out else 0,
            )
            for name, since in names.items()
            if name in self._agents
        ]

    def _paused(self) -> str:
        reading = self._memory.reading
        left = reading.available_bytes / reading.node_bytes if reading is not None and reading.node_bytes else 0.0
        self._pressed = admission.pressed(self._pressed, self._memory.pressure, left)
        if not self._pressed:
            return ""
        return f"memory pressure: something waited for memory {self._memory.pressure:.0%} of the last ten seconds"

    # --- the line ------------------------------------------------------------------------------------------------
    def _line_up(self, now: float) -> None:
        """Everybody who waits and whose turn it may be."""
        queued = [agent for agent in self._agents.values() if self._is(agent.name, Phase.QUEUED)]
        for agent in queued:
            agent.waits_for = depends.waits_for(agent.spec.depends_on, self._ladder_of)
        held_up = [agent for agent in queued if agent.waits_for]
        for agent in held_up:
            agent.standing = None
        shed = [agent for agent in self._agents.values() if _is_shed(agent)]
        self._returning = {agent.name: self._out(agent, now) for agent in shed}
        held_up += [agent for agent in shed if self._returning[agent.name].held]
        self._held_up = len(held_up)
        self._awaited = {need.agent for agent in held_up for need in agent.spec.depends_on}
        if self._asked_mono <= self._memory.state.read_mono and any(one.name not in self._since for one in queued):
            self._asked_mono = now
        self._since = {agent.name: self._since.get(agent.name, now) for agent in queued}
        self._line = sorted(
            (self._waiting(agent) for agent in queued if not agent.waits_for), key=admission.place_in_line
        )
        self._needs = {one.name: one.need_bytes for one in self._line}
        self._in_line = set(self._needs)
        self._stale = False

    def _ladder_of(self, name: str) -> Ladder | None:
        agent = self._agents.get(name)
        return None if agent is None or agent.leaving else agent.ladder

    def _is(self, name: str, phase: Phase) -> bool:
        agent = self._agents.get(name)
        return agent is not None and agent.ladder.phase is phase and agent.ladder.wanted

    def _waiting(self, agent: Agent) -> Waiting:
        return Waiting(
            name=agent.name,
            priority=agent.spec.priority,
            since_mono=self._since[agent.name],
            slots=self._slots(agent),
            need_bytes=self._starts.need(agent),
            start_s=self._starts.takes_s(agent),
        )

    def _out(self, agent: Agent, now: float) -> Waiting:
        """One that was shed. It keeps as much room as it comes back at; none while it waits for another agent."""
        budget = self._memory.state.budget_bytes
        needs = self._starts.need(agent)
        waits_for = depends.waits_for(agent.spec.depends_on, self._ladder_of)
        return Waiting(
            name=agent.name,
            priority=agent.spec.priority,
            since_mono=now if agent.ladder.aside_mono is None else agent.ladder.aside_mono,
            slots=0.0,
            need_bytes=max(needs, min(coming_back.room_for(needs, budget), budget)),
            held=waits_for,
            returns=True,
        )

    def _slots(self, agent: Agent) -> float:
        seen = agent.memory.start_cpu_s
        takes = slots.weight(agent.spec.health.start_cpu_s if seen is None else seen, self._cores)
        return takes if agent.policy.has_gate else min(takes, limits.SLOT_UNGATED)


def _is_shed(agent: Agent) -> bool:
    """Down, or on its way down, for another's memory, and to come back."""
    return agent.ladder.aside == "shed" and agent.ladder.wanted
