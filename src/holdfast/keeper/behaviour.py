"""Gathers what every source says of an agent's behaviour and resources, and tells triage when the sum changed.

Invariant: one standing judgement for each source; failing wins over degraded, degraded never acts; a judgement about
another instance than the running one is dropped. Called by the sources (beats, files, logs, pushes, commands, recipes'
probes of function, resources); calls the healer.
"""

from __future__ import annotations

from holdfast import limits
from holdfast.healing.model import Behaved, Degraded
from holdfast.health.model import HealthValue, Judgement, Observed
from holdfast.keeper.agent import Agent
from holdfast.keeper.healer import Healer

# Sources that speak of what an agent uses, not of what it does: shown, never part of the behaviour level.
RESOURCES = frozenset({"memory", "cpu", "disk", "network", "descriptors", "processes"})


class Behaviour:
    """`report` is the one door for all sources."""

    def __init__(self, agents: dict[str, Agent], healer: Healer) -> None:
        self._agents = agents
        self._healer = healer

    def report(self, seen: Observed, now_mono: float) -> None:
        """Take a source's judgement in; repeated ones cost nothing."""
        agent = self._agents.get(seen.agent)
        if agent is None or seen.instance != agent.ladder.instance or not agent.ladder.running:
            return
        held = agent.observed.get(seen.source)
        if held == seen:
            return
        agent.observed[seen.source] = seen
        self._tell(agent, seen, now_mono)

    def forget(self, agent: Agent) -> None:
        """A new instance: nothing is known of it yet."""
        agent.observed.clear()

    def _tell(self, agent: Agent, seen: Observed, now_mono: float) -> None:
        if seen.source not in RESOURCES:
            failing = [one for one in standing(agent) if one.judgement is Judgement.FAILING]
            cause = "; ".join(f"{one.source}: {one.detail}" for one in failing)
            if failing and agent.fault_mono is None:
                agent.fault_mono = now_mono
            self._healer.observe(
                agent, Behaved(instance=seen.instance, failing=bool(failing), cause=cause), now_mono, text=cause
            )
        text = "; ".join(
            f"{one.source}: {one.detail}" for one in standing(agent) if one.judgement is Judgement.DEGRADED
        )
        self._healer.observe(agent, Degraded(text=text[: limits.DEGRADED_TEXT_MAX_CHARS]), now_mono)


def standing(agent: Agent) -> list[Observed]:
    """What is held of the running instance, by source."""
    instance = agent.ladder.instance
    return [agent.observed[name] for name in sorted(agent.observed) if agent.observed[name].instance == instance]


def level(agent: Agent) -> HealthValue:
    """The third value of `ps`: what the sources of behaviour say together."""
    heard = [one.judgement for one in standing(agent) if one.source not in RESOURCES]
    if not heard:
        return HealthValue.OFF
    if Judgement.FAILING in heard:
        return HealthValue.FAILING
    return HealthValue.OK if set(heard) & {Judgement.OK, Judgement.DEGRADED} else HealthValue.UNKNOWN
