"""Who may start now: the keeper's side of the start slots.

Invariant: every agent in QUEUED is waiting here because its ladder says so, not because a list remembers it.
Called by the healer (an agent asks for a slot), and whenever an agent changed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from holdfast.healing import slots
from holdfast.healing.model import Phase, SlotGranted
from holdfast.keeper.agent import Agent


class StartQueue:
    """`grant(agent)` feeds triage; `ready()` says whether starts can be carried out at present."""

    def __init__(
        self, agents: dict[str, Agent], grant: Callable[[Agent, SlotGranted], None], ready: Callable[[], bool]
    ) -> None:
        self._agents = agents
        self._grant = grant
        self._ready = ready
        self._granted: dict[str, float] = {}  # name -> when
        self._scheduled = False
        self._cores = len(os.sched_getaffinity(0))

    def look(self) -> None:
        """Look soon; many calls in one turn of the loop are one look."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._evaluate)

    def changed(self, agent: Agent) -> None:
        """An agent's ladder changed: it may have given its slot back, or wait for one."""
        if agent.name in self._granted or agent.ladder.phase is Phase.QUEUED:
            self.look()

    def _evaluate(self) -> None:
        self._scheduled = False
        if not self._ready():
            return
        now = asyncio.get_running_loop().time()
        waiting: list[slots.Waiting] = []
        for name, agent in self._agents.items():
            phase = agent.ladder.phase
            if phase is Phase.QUEUED and agent.ladder.wanted:
                cost = _start_cpu_s(agent)
                waiting.append(slots.Waiting(name=name, priority=agent.spec.priority, start_cpu_s=cost))
        for name in list(self._granted):
            holder = self._agents.get(name)
            if holder is None or holder.ladder.phase is not Phase.STARTING:
                del self._granted[name]
        if not waiting:
            return
        starting = [
            slots.Starting(name=name, start_cpu_s=_start_cpu_s(self._agents[name]), since_mono=since)
            for name, since in self._granted.items()
        ]
        for name in slots.grant(waiting, starting, self._cores, now):
            self._granted[name] = now
            self._grant(self._agents[name], SlotGranted())
        self._scheduled_again(waiting)

    def _scheduled_again(self, waiting: list[slots.Waiting]) -> None:
        """Grants may already have failed or passed in the same turn."""
        if any(self._agents[one.name].ladder.phase is Phase.QUEUED for one in waiting if one.name in self._agents):
            done = [name for name in self._granted if self._agents[name].ladder.phase is not Phase.STARTING]
            if done:
                self.look()


def _start_cpu_s(agent: Agent) -> float | None:
    seen = agent.memory.start_cpu_s
    return agent.spec.health.start_cpu_s if seen is None else seen
