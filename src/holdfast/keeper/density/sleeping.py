"""Agents that sleep because they have nothing to do: who falls asleep, what wakes them, and what it saved.

Invariants: the ledger says that an agent sleeps before it is frozen or stopped, so that the next keeper neither takes
it for sick nor forgets to wake it; whoever acts on a sleeper wakes it first. Made by the keeper; read by the semaphore
and the views.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.clock import Clock
from holdfast.keeper.agent import Agent
from holdfast.keeper.density.groups import AgentGroups
from holdfast.keeper.healer import Healer
from holdfast.keeper.places import NodePlaces
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Parts:
    """Of the keeper, as far as sleepers need them."""

    agents: dict[str, Agent]
    clock: Clock
    recorder: Recorder
    healer: Healer
    groups: AgentGroups
    places: NodePlaces
    tasks: Tasks
    scarce: Callable[[], bool]  # memory is short: whoever is idle sleeps at once
    cpu_share: Callable[[str], float | None]  # of a core
    next_at: Callable[[Agent], float | None]  # its next planned restart, wall clock
    follow: Callable[[Agent], None]  # what is asked of the agent changes
    ready: Callable[[], bool]  # the world is known


class Sleepers:
    """`follow` when an agent, its instance or its spec changed."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._agents = parts.agents

    def begin(self) -> None:
        """Called when the keeper's loop runs."""

    def close(self) -> None:
        """Sleepers go on sleeping."""

    def follow(self, agent: Agent, now: float) -> None:
        """Level-triggered and cheap."""

    def gone(self, name: str) -> None:
        """It was taken out of the fleet."""

    # --- for the semaphore and the views -------------------------------------------------------------------------
    def is_frozen(self, name: str) -> bool:
        """Whether it sleeps and its processes are still there."""
        agent = self._agents.get(name)
        return agent is not None and agent.rest_view.asleep == "frozen"

    def idle(self, name: str) -> bool:
        """Whether it is known to do nothing now."""
        return False

    def may(self, name: str) -> bool:
        """Whether it may be put to sleep for memory's sake."""
        return False

    # --- acts ----------------------------------------------------------------------------------------------------
    def sleep_now(self, agent: Agent, why: str) -> bool:
        """Put it to sleep in the way it declared; False when that cannot be now. Idempotent."""
        return False

    def wake(self, agent: Agent, why: str) -> bool:
        """Wake it; False when it does not sleep. Idempotent."""
        return False
