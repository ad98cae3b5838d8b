"""Who may start now: the keeper's side of the start slots.

Invariant: an agent in QUEUED is waiting here because its ladder says so; the lines kept below are only the order in
which ladders are looked at. Who waits for another agent stands in no line until that one is as it has to be. Called by
the healer (an agent asks for a slot), and whenever an agent changed.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

from holdfast.healing import depends, slots
from holdfast.healing.model import Ladder, Phase, SlotGranted
from holdfast.keeper.agent import Agent

LOOKED_AT = 64  # heavy starts looked at in one turn: more never fit into the cores at once


class StartQueue:
    """`grant(agent, SlotGranted)` feeds triage; `ready()` says whether starts can be carried out at present."""

    def __init__(
        self, agents: dict[str, Agent], grant: Callable[[Agent, SlotGranted], None], ready: Callable[[], bool]
    ) -> None:
        self._agents = agents
        self._grant = grant
        self._ready = ready
        self._granted: dict[str, float] = {}  # name -> when
        self._in_line: set[str] = set()
        self._light: list[str] = []
        self._heavy: deque[str] = deque()
        self._stale = True
        self._held_up = 0  # how many wait for other agents
        self._awaited: set[str] = set()  # for whom
        self._scheduled = False
        self._cores = len(os.sched_getaffinity(0))

    def look(self) -> None:
        """Look soon; many calls in one turn of the loop are one look."""
        self._stale = True
        self._schedule()

    def room_changed(self) -> None:
        """Memory came free, or was read again."""
        if self._in_line:
            self._schedule()

    def changed(self, agent: Agent) -> None:
        """An agent's ladder changed: it may have given its slot back, or wait for one."""
        queued = agent.ladder.phase is Phase.QUEUED
        awaited = self._held_up and agent.name in self._awaited
        if awaited or (queued and agent.name not in self._in_line):
            self._stale = True
        if queued or awaited or agent.name in self._granted:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._evaluate)

    def _evaluate(self) -> None:
        self._scheduled = False
        if not self._ready():
            return
        for name in [name for name in self._granted if not self._is(name, Phase.STARTING)]:
            del self._granted[name]
        if self._stale:
            self._line_up()
        waiting = [self._waiting(name) for name in self._front()]
        if not waiting:
            return
        now = asyncio.get_running_loop().time()
        starting = [
            slots.Starting(name=name, start_cpu_s=_start_cpu_s(self._agents[name]), since_mono=since)
            for name, since in self._granted.items()
        ]
        for name in slots.grant(waiting, starting, self._cores, now):
            self._granted[name] = now
            self._grant(self._agents[name], SlotGranted())
            self._in_line.discard(name)

    def _line_up(self) -> None:
        """Order everybody who waits: the light, who pass at once, and the heavy."""
        queued = [agent for agent in self._agents.values() if self._is(agent.name, Phase.QUEUED)]
        for agent in queued:
            agent.waits_for = depends.waits_for(agent.spec.depends_on, self._ladder_of)
        held_up = [agent for agent in queued if agent.waits_for]
        self._held_up = len(held_up)
        self._awaited = {need.agent for agent in held_up for need in agent.spec.depends_on}
        queued = [agent for agent in queued if not agent.waits_for]
        queued.sort(key=lambda agent: (-agent.spec.priority, agent.name))
        self._light = [agent.name for agent in queued if slots.light(_start_cpu_s(agent))]
        self._heavy = deque(agent.name for agent in queued if not slots.light(_start_cpu_s(agent)))
        self._in_line = {agent.name for agent in queued}
        self._stale = False

    def _front(self) -> list[str]:
        """Those who can be granted a slot in this turn, at most."""
        light, self._light = self._light, []
        while self._heavy and not self._is(self._heavy[0], Phase.QUEUED):
            self._heavy.popleft()
        front = [self._heavy[place] for place in range(min(LOOKED_AT, len(self._heavy)))]
        return [name for name in (*light, *front) if self._is(name, Phase.QUEUED)]

    def _ladder_of(self, name: str) -> Ladder | None:
        agent = self._agents.get(name)
        return None if agent is None or agent.leaving else agent.ladder

    def _is(self, name: str, phase: Phase) -> bool:
        agent = self._agents.get(name)
        return agent is not None and agent.ladder.phase is phase and agent.ladder.wanted

    def _waiting(self, name: str) -> slots.Waiting:
        agent = self._agents[name]
        return slots.Waiting(name=name, priority=agent.spec.priority, start_cpu_s=_start_cpu_s(agent))


def _start_cpu_s(agent: Agent) -> float | None:
    seen = agent.memory.start_cpu_s
    return agent.spec.health.start_cpu_s if seen is None else seen
