"""Looks at an agent's state before it is started, where its recipe says that it would start on damage and lose more.

Invariant: only a start that the keeper orders waits, in bounded time; what could not be looked at holds nothing up.
Certain damage is a start that failed, so that the ladder goes its way and its next act is a restore. Stands before
restoring.py as what has to be over before a start; wired by state_wiring.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast import recipes
from holdfast.errors import HoldfastError
from holdfast.healing.actions import Restore
from holdfast.keeper.acting.preparing import Holding
from holdfast.keeper.agent import Agent
from holdfast.keeper.state.state_jobs import StateJobs
from holdfast.keeper.state.tier_three import validators
from holdfast.worker.protocol import JobFailed


class StateGate:
    """See hands.Holding. `damaged` takes what was found."""

    def __init__(
        self, jobs: StateJobs, damaged: Callable[[Agent, list[dict[str, str]]], None], restoring: Holding
    ) -> None:
        self._jobs = jobs
        self._damaged = damaged
        self._restoring = restoring

    def waits(self, agent: Agent) -> bool:
        return self._restoring.waits(agent) or self._looks(agent)

    def _looks(self, agent: Agent) -> bool:
        """Only where something better can be put back."""
        return agent.policy.restore_available and recipes.find(agent.spec.recipe).starts_on_damage

    async def settle(self, agent: Agent) -> str:
        if why := await self._restoring.settle(agent):
            return why
        if not self._looks(agent) or agent.ladder.running:
            return ""
        try:
            told = await self._jobs.ask("check-state", agent.name, validators=validators(agent.spec))
        except (JobFailed, HoldfastError):
            return ""
        faults = told["faults"]
        if not faults:
            return ""
        # Told once the ladder has heard of the failed start, which opens the incident this belongs to.
        asyncio.get_running_loop().call_soon(self._damaged, agent, faults)
        return f"its state is damaged: {faults[0]['path']} ({faults[0]['reason']})"

    def by_ladder(self, agent: Agent, act: Restore) -> None:
        self._restoring.by_ladder(agent, act)
