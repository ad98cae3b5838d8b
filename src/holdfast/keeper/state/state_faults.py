"""Looks at what an agent keeps on disk when it did not get through its start, and tells the ladder of certain damage.

Invariant: at most one look for each instance, by the worker and with the agent's rights, so neither healing nor the
loop waits for it; what could not be looked at is no damage. Called by the keeper after unplanned deaths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import limits
from holdfast.errors import HoldfastError
from holdfast.healing.model import StateDamaged
from holdfast.keeper.agent import Agent
from holdfast.keeper.state.tier_three import validators
from holdfast.worker.protocol import JobFailed

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


class StateFaults:
    """`died` and `changed` are told of every agent."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._started: dict[str, int] = {}  # the last instance that passed its gate
        self._looked: dict[str, int] = {}
        self._under_way: set[str] = set()
        self._found: dict[str, tuple[int, str]] = {}  # number of the incident, what is damaged

    def gone(self, name: str) -> None:
        """The agent was taken out of the fleet. Idempotent."""
        for kept in (self._started, self._looked, self._found):
            kept.pop(name, None)

    def changed(self, agent: Agent) -> None:
        if agent.ladder.running and agent.ladder.gate_passed:
            self._started[agent.name] = agent.ladder.instance

    def found(self, agent: Agent) -> str:
        """What was found damaged in its open incident, one clause; "" nothing."""
        incident, text = self._found.get(agent.name, (0, ""))
        return text if incident and incident == agent.ladder.incident else ""

    def restored(self, agent: Agent) -> None:
        """Its state was replaced: what was found is no longer true."""
        self._found.pop(agent.name, None)

    def died(self, agent: Agent) -> None:
        """An end that nobody planned, taken in by the ladder already."""
        if not agent.policy.restore_available or not agent.ladder.wanted or not agent.memory.deaths:
            return
        if text := self.found(agent):
            self._say(agent, text)
            return
        death = agent.memory.deaths[-1]
        if agent.name in self._under_way or self._looked.get(agent.name) == death.instance:
            return
        if self._is_doubtful(agent, death.instance, death.lived_s):
            self._under_way.add(agent.name)
            self._looked[agent.name] = death.instance
            self._keeper.tasks.spawn(self._look(agent))

    def _is_doubtful(self, agent: Agent, instance: int, lived_s: float | None) -> bool:
        """Whether its start failed, or it failed for the second time."""
        if agent.ladder.restarts_mono:
            return True
        if agent.policy.has_gate:
            return self._started.get(agent.name) != instance
        return lived_s is not None and lived_s < limits.STATE_CHECK_LIVED_S

    async def _look(self, agent: Agent) -> None:
        try:
            told = await self._keeper.snapshots.jobs.ask("check-state", agent.name, validators=validators(agent.spec))
        except (JobFailed, HoldfastError):
            return  # not known: the ladder goes its way
        finally:
            self._under_way.discard(agent.name)
        self.take(agent, told["faults"])

    def take(self, agent: Agent, faults: list[dict[str, str]]) -> None:
        """What a look has found; for the incident that is open."""
        if not faults or self._keeper.agents.get(agent.name) is not agent or not agent.ladder.incident:
            return
        text = f"its state is damaged: {faults[0]['path']} ({faults[0]['reason']})"
        text += f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        self._found[agent.name] = (agent.ladder.incident, text)
        self._keeper.recorder.record("agent.state-damaged", agent.name, text, {"faults": faults})
        self._say(agent, text)

    def _say(self, agent: Agent, text: str) -> None:
        seen = StateDamaged(instance=agent.ladder.instance, cause=text)
        self._keeper.healer.observe(agent, seen, self._keeper.clock.now_mono())
