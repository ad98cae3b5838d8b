"""When the sources of behaviour are looked at: heartbeat files, logs, pushes, command probes, probes of function.

Invariants: one timer for all; a source is looked at only while its instance runs and nobody is stopping it, and what it
learns about an older instance is dropped; nothing declared, no wake-up. What each source means is decided by the pure
trackers in health/; what follows from it by behaviour.py. Called by the keeper when agents come, go or change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast import limits
from holdfast.evidence import secrets
from holdfast.healing.model import Phase
from holdfast.health.model import Judgement, Observed
from holdfast.health.schedule import Rota
from holdfast.keeper.agent import Agent
from holdfast.keeper.telling.collecting import secret_values
from holdfast.keeper.watching.behaviour import Behaviour
from holdfast.printable import one_line
from holdfast.spec.model import AgentSpec

DETAIL_MAX_CHARS = 240
_SEPARATOR = "\0"  # between the names of agent and source


@dataclass(frozen=True, slots=True)
class Turn:
    """One look. `able`: neither we nor the machine were starved since the last one."""

    now_mono: float
    able: bool


class Source(Protocol):
    """One kind of source."""

    name: str

    def interval_s(self, spec: AgentSpec) -> float | None:
        """How often it is looked at; None: the agent declares no such source."""

    def begin(self, agent: Agent) -> None:
        """An instance is watched from now on."""

    def look(self, agent: Agent, turn: Turn) -> None:
        """Find out, now or later, and report."""

    def forget(self, agent: str) -> None:
        """The agent is not watched any more."""


class Reporter:
    """How a source says what it found: fenced by instance, printable, without the agent's secrets.

    `token_of(agent)`: the one it pushes with, which it may print or send along; "" without one.
    """

    def __init__(self, agents: dict[str, Agent], behaviour: Behaviour) -> None:
        self.token_of: Callable[[str], str] = lambda name: ""
        self._agents = agents
        self._behaviour = behaviour

    def agent(self, name: str, instance: int) -> Agent | None:
        """The agent while that instance is watched."""
        agent = self._agents.get(name)
        return agent if agent is not None and agent.ladder.instance == instance and is_watched(agent) else None

    def report(self, source: str, name: str, instance: int, judgement: Judgement, detail: str, now_mono: float) -> None:
        agent = self.agent(name, instance)
        if agent is None:
            return
        detail = secrets.mask(detail, (*secret_values(agent.spec), self.token_of(name)))
        seen = Observed(
            agent=name, instance=instance, source=source, judgement=judgement,
            detail=one_line(detail, DETAIL_MAX_CHARS),
        )  # fmt: skip
        self._behaviour.report(seen, now_mono)

    def withdraw(self, agent: Agent, source: str, now_mono: float) -> None:
        """The agent no longer declares it."""
        if source in agent.observed:
            self._behaviour.withdraw(agent, source, now_mono)


class Sources:
    """The rota of all agents' sources."""

    def __init__(
        self, agents: dict[str, Agent], reporter: Reporter, sources: Sequence[Source], starved: Callable[[float], bool]
    ) -> None:
        self._agents = agents
        self._reporter = reporter
        self._sources = {source.name: source for source in sources}
        self._starved = starved
        self._rota = Rota()
        self._watched: dict[str, dict[str, int]] = {}  # agent -> source -> instance
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def follow(self, agent: Agent, now_mono: float) -> None:
        """Bring what is looked at in line with the agent's ladder and spec. Idempotent and cheap."""
        watched = self._watched.get(agent.name, {})
        running = is_watched(agent)
        for name, source in self._sources.items():
            interval_s = source.interval_s(agent.spec) if running else None
            if interval_s is None:
                if name in watched:
                    del watched[name]
                    self._rota.drop(agent.name + _SEPARATOR + name)
                    source.forget(agent.name)
                    if running:
                        self._reporter.withdraw(agent, name, now_mono)
                continue
            self._rota.set(agent.name + _SEPARATOR + name, interval_s, now_mono)
            if watched.get(name) != agent.ladder.instance:
                self._watched.setdefault(agent.name, watched)[name] = agent.ladder.instance
                source.begin(agent)
        self._wake_at(self._rota.next())

    def drop(self, name: str) -> None:
        """The agent is gone."""
        for source in self._watched.pop(name, {}):
            self._rota.drop(name + _SEPARATOR + source)
            self._sources[source].forget(name)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _wake_at(self, due_mono: float | None) -> None:
        if due_mono is None:
            return
        if self._timer is not None:
            if self._timer_due <= due_mono:
                return
            self._timer.cancel()
        self._timer_due = due_mono
        self._timer = asyncio.get_running_loop().call_at(due_mono, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        turn = Turn(now, able=now - self._timer_due < limits.SOURCE_LAG_S and not self._starved(now))
        for entry in self._rota.due(now):
            name, _, source = entry.partition(_SEPARATOR)
            agent = self._agents.get(name)
            if agent is None or not is_watched(agent):
                self._rota.drop(entry)
                continue
            self._sources[source].look(agent, Turn(now, able=False) if agent.ladder.starved else turn)
        self._wake_at(self._rota.next())


def is_watched(agent: Agent) -> bool:
    """Whether what an instance does means anything now: it runs, and nobody has asked it to stop."""
    ladder = agent.ladder
    if agent.is_frozen:
        return False
    return ladder.running and ladder.instance > 0 and ladder.phase is not Phase.STOPPING and not ladder.planned_stop
