"""The shell around triage: feeds it observations, stores what it decided, then acts.

Invariant: intent before act. The new ladder is in the ledger (on stable storage for tier 2 and above) before
anything it asks for goes to init, and every act may be sent twice. Called by the keeper, the health loop and timers.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from typing import Any, Protocol

from holdfast.healing import triage
from holdfast.healing.actions import (
    Action,
    Alert,
    Arm,
    AskSlot,
    CloseIncident,
    OpenIncident,
    Recreate,
    Remember,
    RestartTree,
    Restore,
    Start,
    StopTree,
)
from holdfast.healing.model import Observation, Timer
from holdfast.keeper.agent import Agent, pack_ladder
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.telling import words


class Hands(Protocol):
    """What carries the acts out."""

    def start(self, agent: Agent, act: Start) -> None: ...

    def restart(self, agent: Agent, act: RestartTree) -> None: ...

    def recreate(self, agent: Agent, act: Recreate) -> None: ...

    def restore(self, agent: Agent, act: Restore) -> None: ...

    def stop(self, agent: Agent, act: StopTree) -> None: ...

    def renew_permit(self, agent: Agent) -> None: ...


class Cases(Protocol):
    """What becomes of incidents."""

    def opened(self, agent: Agent, act: OpenIncident, now_mono: float) -> dict[str, Any]: ...

    def closed(self, agent: Agent, act: CloseIncident, now_mono: float) -> dict[str, Any]: ...

    def alert(self, agent: Agent, act: Alert) -> None: ...

    def climbed(self, agent: Agent, tier: int) -> None: ...

    def watched(self, agent: Agent, now_mono: float) -> None: ...


class Healer:
    """One timer for all ladders, one door to triage."""

    def __init__(
        self,
        agents: dict[str, Agent],
        recorder: Recorder,
        hands: Hands,
        cases: Cases,
        *,
        changed: Callable[[Agent], None],
        slots_wanted: Callable[[], None],
    ) -> None:
        self._agents = agents
        self._recorder = recorder
        self._hands = hands
        self._cases = cases
        self._changed = changed
        self._slots_wanted = slots_wanted
        self.let_go: Callable[[Agent, float], None] = lambda agent, now: None  # no longer starved
        self._due: list[tuple[float, str]] = []
        self._timer: asyncio.TimerHandle | None = None

    def observe(
        self,
        agent: Agent,
        seen: Observation,
        now_mono: float,
        *,
        record: str = "",
        text: str = "",
        body: dict[str, Any] | None = None,
    ) -> None:
        """Feed one fact and carry out what follows. With `record`, a ledger record of that kind is written anyway."""
        before = agent.memory.ladder
        after, actions = triage.decide(before, seen, agent.policy, now_mono, random.random())
        level = next((action.level for action in actions if isinstance(action, Remember)), None)
        if after is not before:
            agent.memory.ladder = after
            self._changed(agent)
        if level or record:
            kind = record or f"ladder.{type(seen).__name__.lower()}"
            said = text or words.decision(before, after, seen)
            full = {**(body or {}), **({"ladder": pack_ladder(after)} if level else {})}
            if after.recreated_mono is not None and after.recreated_mono != before.recreated_mono:
                # The number of the new place is part of the intent: made again after a crash, it is the same place.
                agent.memory.pod += 1
                full["pod"] = agent.memory.pod
            if after.incident != before.incident or after.incident:
                self._cases.climbed(agent, int(after.tier))
            for action in actions:
                if isinstance(action, OpenIncident):
                    full |= self._cases.opened(agent, action, now_mono)
                elif isinstance(action, CloseIncident):
                    full |= self._cases.closed(agent, action, now_mono)
            self._recorder.record(kind, agent.name, said, full, durable=level == "durable")
        if level:
            self._hands.renew_permit(agent)  # before the acts: what they start must find the budget already charged
        for action in actions:
            self._act(agent, action)
        if agent.incident is not None:
            self._cases.watched(agent, now_mono)
        if before.starved and not after.starved:
            self.let_go(agent, now_mono)  # last: it may lead to the next observation

    def _act(self, agent: Agent, action: Action) -> None:
        match action:
            case Arm():
                self.arm(agent)
            case AskSlot():
                self._slots_wanted()
            case Start():
                self._hands.start(agent, action)
            case RestartTree():
                self._hands.restart(agent, action)
            case Recreate():
                self._hands.recreate(agent, action)
            case StopTree():
                self._hands.stop(agent, action)
            case Alert():
                self._cases.alert(agent, action)
            case Restore():
                self._hands.restore(agent, action)

    # --- time ----------------------------------------------------------------------------------------------------
    def arm(self, agent: Agent) -> None:
        """Make the timer ring at the ladder's due time; older entries of the heap are found void when they ring."""
        due = agent.ladder.due_mono
        if due is None:
            return
        heapq.heappush(self._due, (due, agent.name))
        if self._due[0][0] == due:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            self._timer = asyncio.get_running_loop().call_at(self._due[0][0], self._ring)

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._due and self._due[0][0] <= now:
            due, name = heapq.heappop(self._due)
            agent = self._agents.get(name)
            if agent is not None and agent.ladder.due_mono is not None and agent.ladder.due_mono <= max(now, due):
                self.observe(agent, Timer(), max(now, due))
                if agent.ladder.due_mono is not None and agent.ladder.due_mono <= now:
                    # A rule that left a due time in the past would otherwise ring without end.
                    heapq.heappush(self._due, (now + 1.0, name))
                    break
        self._set_timer()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
