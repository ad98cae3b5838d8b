"""Gathers what every source says of an agent's behaviour and resources, and tells triage until it holds the same.

Invariant: one standing judgement for each source; failing wins over degraded, degraded never acts; a judgement about
another instance than the running one is dropped. A source that does not know takes nothing back: whom triage blames
for a failure stays blamed until that very source says that it is well, also after this keeper was replaced. Called by
the sources (beats, files, logs, pushes, commands, recipes' probes of function, resources); calls the healer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast import limits
from holdfast.healing.model import Behaved, Degraded
from holdfast.health.model import HealthValue, Judgement, Observed
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.agent import Agent

# Sources that speak of what an agent uses, not of what it does: shown, never part of the behaviour level.
RESOURCES = frozenset(
    {"memory", "cpu", "disk", "network", "descriptors", "processes", "log-rate", "log-files", "log-shipping"}
)


class Behaviour:
    """`report` is the one door for all sources."""

    def __init__(self, agents: dict[str, Agent], healer: Healer) -> None:
        self._agents = agents
        self._healer = healer
        self.heard: Callable[[Agent, tuple[str, ...], float], None] = lambda agent, sources, now: None  # before triage
        self._untold: set[str] = set()  # agents of which triage does not hold yet what is said
        self._timer: asyncio.TimerHandle | None = None

    def report(self, seen: Observed, now_mono: float) -> None:
        """Take a source's judgement in; repeated ones cost nothing."""
        agent = self._agents.get(seen.agent)
        if agent is None or seen.instance != agent.ladder.instance or not agent.ladder.running:
            return
        held = agent.observed.get(seen.source)
        if held == seen:
            return
        agent.observed[seen.source] = seen
        self._tell(agent, now_mono)

    def withdraw(self, agent: Agent, source: str, now_mono: float) -> None:
        """The source is no longer asked of this agent: what it said is void."""
        if agent.observed.pop(source, None) is not None or source in agent.ladder.blamed:
            self._tell(agent, now_mono, gone=source)

    def forget(self, agent: Agent) -> None:
        """A new instance: nothing is known of it yet."""
        agent.observed.clear()

    def _tell(self, agent: Agent, now_mono: float, gone: str = "") -> None:
        ladder = agent.ladder
        failing = failing_of(standing(agent), ladder.blamed, gone)
        sources = tuple(sorted(failing))
        if (bool(sources), sources) != (ladder.misbehaves, ladder.blamed):
            if sources and agent.fault_mono is None:
                agent.fault_mono = now_mono
            told = "; ".join(f"{source}: {failing[source]}" for source in sources if failing[source])
            cause = f"did not behave ({told})"[: limits.DEGRADED_TEXT_MAX_CHARS] if told else ""
            self.heard(agent, sources, now_mono)
            seen = Behaved(instance=ladder.instance, failing=bool(sources), cause=cause, sources=sources)
            self._healer.observe(agent, seen, now_mono, text=cause or "behaves well again")
        text = "; ".join(f"{one.source}: {one.detail}" for one in standing(agent) if _is_degraded(one))
        self._healer.observe(agent, Degraded(text=text[: limits.DEGRADED_TEXT_MAX_CHARS]), now_mono)
        if sources and not agent.ladder.misbehaves and agent.ladder.running:
            self._untold.add(agent.name)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(limits.RETELL_S, self._again)

    def _again(self) -> None:
        """Triage did not take it: the machine was starved, or an act was under way. Level-triggered: say it again."""
        self._timer = None
        names, self._untold = self._untold, set()
        for name in names:
            agent = self._agents.get(name)
            if agent is not None and agent.ladder.running:
                self._tell(agent, asyncio.get_running_loop().time())


def failing_of(held: list[Observed], blamed: tuple[str, ...], gone: str = "") -> dict[str, str]:
    """Which sources of behaviour say that it fails, and why. Whoever was blamed stays so until that source knows
    better or is `gone`; its detail is empty when it does not know now. Pure."""
    behaving = [one for one in held if one.source not in RESOURCES]
    failing = {one.source: one.detail for one in behaving if one.judgement is Judgement.FAILING}
    known = {one.source for one in behaving if one.judgement is not Judgement.UNKNOWN}
    return failing | {source: "" for source in blamed if source not in known and source != gone}


def _is_degraded(one: Observed) -> bool:
    return one.judgement is Judgement.DEGRADED


def standing(agent: Agent) -> list[Observed]:
    """What is held of the running instance, by source."""
    instance = agent.ladder.instance
    return [agent.observed[name] for name in sorted(agent.observed) if agent.observed[name].instance == instance]


def level(agent: Agent) -> HealthValue:
    """The third value of `ps`: what the sources of behaviour say together."""
    heard = [one.judgement for one in standing(agent) if one.source not in RESOURCES]
    if Judgement.FAILING in heard or agent.ladder.misbehaves:
        return HealthValue.FAILING
    if not heard:
        return HealthValue.OFF
    return HealthValue.OK if set(heard) & {Judgement.OK, Judgement.DEGRADED} else HealthValue.UNKNOWN


def unsure(agent: Agent) -> str:
    """Why nothing is known of its behaviour, "" when something is: one clause that names the source."""
    if level(agent) is not HealthValue.UNKNOWN:
        return ""
    return next((f"{one.source}: {one.detail}" for one in standing(agent) if one.detail), "")
