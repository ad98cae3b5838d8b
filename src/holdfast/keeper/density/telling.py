"""What a person is told of memory: what cannot work on this node, who is down for others, whose start cannot begin.

Invariants: a fleet that cannot fit is told once (an alarm, taken back when it fits) and shown as long as it holds; who
is shed or waits is shown, and nobody is woken for it. Only looks. Called by the keeper: `warnings` for `ps`, `follow`
with each look at its agents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from holdfast import errors
from holdfast.density.node_memory import Problem
from holdfast.errors import HoldfastError
from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.density.loop import Semaphore
from holdfast.keeper.telling.alarms import Alarms

_NAMED = 3  # agents in one line; the rest are counted
_KEY: Final = "node-memory:"


def said(problem: Problem) -> HoldfastError:
    """The numbered form of what cannot work on this node."""
    match problem.code:
        case "small":
            return HoldfastError(errors.NODE_TOO_SMALL, detail=problem.text)
        case "floors":
            return HoldfastError(errors.MINIMUMS_TOO_LARGE, detail=problem.text, agents=some(problem.agents))
        case "larger":
            return HoldfastError(errors.AGENT_TOO_LARGE, agent=problem.agents[0], detail=problem.text)


def some(names: tuple[str, ...] | list[str]) -> str:
    """The first few by name, the rest as a number."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "nobody") + more


def warnings(semaphore: Semaphore, agents: Mapping[str, Agent]) -> Iterator[HoldfastError]:
    """All that hold now, the gravest first."""
    for problem in semaphore.problems:
        yield said(problem)
    shed = [agent for agent in agents.values() if agent.ladder.phase is Phase.SHED]
    if shed:
        shed.sort(key=lambda agent: (-agent.spec.priority, agent.name))
        yield HoldfastError(errors.AGENTS_SHED, count=len(shed), agents=some([agent.name for agent in shed]))
    too_large = {one.agents[0] for one in semaphore.problems if one.code == "larger"}
    held = [
        (agent.standing.position, agent.name, agent.standing.why)
        for agent in agents.values()
        if agent.standing is not None and agent.standing.estimate_s is None and agent.ladder.phase is Phase.QUEUED
        if agent.name not in too_large  # which is told already
    ]
    if held:
        _, first, why = min(held)
        yield HoldfastError(errors.STARTS_HELD, count=len(held), agent=first, reason=why)


class Telling:
    """Raises an alarm for what cannot work on this node, and takes it back."""

    def __init__(self, semaphore: Semaphore, alarms: Alarms) -> None:
        self._semaphore, self._alarms = semaphore, alarms
        self._told: tuple[Problem, ...] | None = None

    def follow(self, agent: Agent, now: float) -> None:
        """An agent changed, and with it perhaps what fits. Cheap: nothing is done while the same holds."""
        self.look()

    def look(self) -> None:
        """As `follow`."""
        problems = self._semaphore.problems
        if self._told == problems or self._semaphore.node is None:
            return
        self._told = problems
        keys = {}
        for problem in problems:
            key = _KEY + problem.code + (f":{problem.agents[0]}" if problem.code == "larger" else "")
            keys[key] = problem
        for key in [one for one, alarm in self._alarms.known.items() if one.startswith(_KEY) and alarm.on]:
            if key not in keys:
                self._alarms.clear(key, "", "it fits now")
        for key, problem in keys.items():
            self._alarms.raise_(key, problem.agents[0] if problem.code == "larger" else "", said(problem))
