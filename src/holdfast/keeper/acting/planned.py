"""Planned restarts at work: looks at the wall clock, and restarts in turn what its plan says.

Invariant: a slot is settled in the ledger before it is acted upon, so a keeper killed in the middle neither forgets
nor repeats it; what is seen for the first time owes nothing. Called by the keeper; a timer exists only while some agent
has a plan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast import limits
from holdfast.clock import Clock
from holdfast.healing import planned
from holdfast.healing.model import Phase
from holdfast.healing.planned import Choice, Sight
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder

_WELL = frozenset({Phase.HEALTHY, Phase.DEGRADED})
_UNDER_WAY = frozenset({Phase.STOPPING, Phase.STARTING})


class PlannedRestarts:
    """`idle(agent)` None: it does not say. `restart(agent, why)` is a person's restart but for the words."""

    def __init__(
        self,
        agents: dict[str, Agent],
        clock: Clock,
        recorder: Recorder,
        *,
        idle: Callable[[Agent], bool | None],
        restart: Callable[[Agent, str], None],
        ready: Callable[[], bool],
        changed: Callable[[Agent], None],
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._recorder = recorder
        self._idle = idle
        self._restart = restart
        self._ready = ready
        self._changed = changed
        self._acting: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Settle every slot that is due and book the next look. Level-triggered: may be called at any time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        planning = [agent for agent in self._agents.values() if agent.spec.restart.at and not agent.leaving]
        if not planning:
            return
        now_at = self._clock.now_at()
        self._acting = {name for name in self._acting if self._under_way(name)}
        soon_s = limits.PLANNED_LOOK_MAX_S
        for agent in planning:
            if self._ready() and self._settle(agent, now_at):
                soon_s = limits.PLANNED_WAIT_S
            due_at = planned.following(agent.spec.restart.at, now_at)
            if due_at is not None:
                soon_s = min(soon_s, due_at - now_at)
        self._timer = asyncio.get_running_loop().call_later(max(soon_s, 0.05), self.look)

    def next_at(self, agent: Agent) -> float | None:
        """When its next planned restart is, wall clock seconds."""
        return planned.following(agent.spec.restart.at, self._clock.now_at()) if agent.spec.restart.at else None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _settle(self, agent: Agent, now_at: float) -> bool:
        """True: a slot is open and waits."""
        if agent.memory.settled_at == 0.0:
            count = len(agent.spec.restart.at)
            said = "a planned restart" if count == 1 else f"{count} planned restarts"
            self._record(agent, now_at, "agent.planned", f"has {said} ahead")
            return False
        sight = Sight(
            settled_at=agent.memory.settled_at,
            well=agent.ladder.phase in _WELL and agent.ladder.incident == 0,
            idle=self._idle(agent),
            hands_off=agent.policy.hands_off,
            when_idle=agent.spec.restart.when_idle,
            idle_wait_s=agent.spec.restart.idle_wait_s,
            room=len(self._acting) < limits.PLANNED_AT_ONCE,
        )
        choice, slot_at, why = planned.choose(agent.spec.restart.at, sight, now_at)
        if choice is Choice.RESTART:
            self._acting.add(agent.name)
            self._record(agent, slot_at, "agent.planned", "its planned restart begins")
            self._restart(agent, "its planned restart")
        elif choice is Choice.PASS:
            self._record(agent, slot_at, "agent.planned", f"a planned restart was passed over: {why}")
        return choice is Choice.WAIT

    def _record(self, agent: Agent, settled_at: float, kind: str, text: str) -> None:
        agent.memory.settled_at = settled_at
        self._recorder.record(kind, agent.name, text, {"settled_at": settled_at}, durable=True)
        self._changed(agent)

    def _under_way(self, name: str) -> bool:
        agent = self._agents.get(name)
        return agent is not None and agent.ladder.phase in _UNDER_WAY
