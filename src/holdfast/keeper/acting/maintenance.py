"""Maintenance at work: at its beginning an agent's policy is told to keep hands off, at its end to heal again.

Invariant: what is in force follows from the spec and the wall clock alone (level-triggered), so nothing has to be
remembered; what was held back is healed within HANDS_OFF_LOOK_S of the end. Called by the keeper; a timer exists only
while some agent has windows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from holdfast import limits
from holdfast.clock import Clock
from holdfast.healing import planned
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder


class MaintenanceWatch:
    """`changed(agent)` is called when its policy changed: what init may do alone has to be told anew."""

    def __init__(
        self, agents: dict[str, Agent], clock: Clock, recorder: Recorder, changed: Callable[[Agent], None]
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._recorder = recorder
        self._changed = changed
        self._told: set[str] = set()  # agents whose maintenance was recorded as begun
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Bring every policy in line, and book the next look. May be called at any time."""
        self.close()
        now_at = self._clock.now_at()
        turns = [at for agent in self._agents.values() if (at := self._settle(agent, now_at)) is not None]
        self._told &= self._agents.keys()
        if turns:
            # The wall clock may jump: it is looked at again before long.
            wait_s = min(limits.PLANNED_LOOK_MAX_S, max(0.05, min(turns) - now_at))
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _settle(self, agent: Agent, now_at: float) -> float | None:
        maintenance = agent.spec.maintenance
        on = planned.hands_off(maintenance, now_at)
        if on is not (agent.name in self._told):
            words = "begins: it is left alone and nobody is told" if on else "is over: it is healed again"
            self._recorder.record("agent.maintenance", agent.name, f"maintenance {words}", {"maintenance": on})
            (self._told.add if on else self._told.discard)(agent.name)
        if on is not agent.policy.hands_off:
            agent.policy = replace(agent.policy, hands_off=on)
            self._changed(agent)
        return planned.hands_off_turns_at(maintenance, now_at)
