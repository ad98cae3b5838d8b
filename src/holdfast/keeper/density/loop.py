"""The RAM semaphore in the keeper: read when it is due or the kernel tells, decide, begin what follows, never wait.

Invariants: all of it runs in the keeper's loop; nothing here raises for what agents or the kernel do; with nobody
running there is no wake-up. What must survive is in the ledger before the act (acts.py). Made by the keeper; read by
the start queue, the views and whoever wants to know what room there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.density import semaphore, shedding
from holdfast.density.model import Held, Lease, Reading, Seen, State, Want
from holdfast.density.node_memory import Node, Problem
from holdfast.keeper.agent import Agent
from holdfast.keeper.density.groups import AgentGroups
from holdfast.keeper.healer import Healer
from holdfast.keeper.link import InitLink
from holdfast.keeper.places import NodePlaces
from holdfast.keeper.tasks import Tasks
from holdfast.spec.model import FleetSpec


@dataclass(frozen=True, slots=True)
class Parts:
    """Of the keeper, as far as the semaphore needs them."""

    agents: dict[str, Agent]
    healer: Healer
    link: InitLink
    places: NodePlaces
    tasks: Tasks
    fleet: Callable[[], FleetSpec]


class Semaphore:
    """See the module."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.groups = AgentGroups(parts.places, parts.link, self.look)
        self.state = State()
        self.reading: Reading | None = None  # the last one that was decided on
        self.want: Want | None = None  # set by the start queue: the first that only memory keeps out
        self.pressure = 0.0  # share of the last ten seconds in which something waited for memory
        self.node: Node | None = None
        self.problems: tuple[Problem, ...] = ()

    def begin(self) -> None:
        """Called when the keeper's loop runs."""

    def close(self) -> None:
        self.groups.close()

    def look(self) -> None:
        """Look at once; what comes within two milliseconds is one look."""

    def gone(self, agent: Agent) -> None:
        """It was taken out of the fleet."""
        self.groups.drop(agent.name)

    # --- for others ----------------------------------------------------------------------------------------------
    @property
    def budget_bytes(self) -> int:
        """What all agents together may use at present."""
        return self.state.budget_bytes if self.reading is not None or self.node is None else self.node.budget_bytes

    @property
    def scarce(self) -> bool:
        """Somebody's need is not covered, or the reserve is being eaten."""
        waiting = any(one.starved_mono is not None for one in self.state.held.values())
        return waiting or self.state.over_mono is not None

    def room(self) -> int:
        """Bytes that starts may take now."""
        return semaphore.room(self.state)

    def lease(self, name: str) -> Lease | None:
        return self.state.leases.get(name)

    def held(self, name: str) -> Held | None:
        return self.state.held.get(name)

    def seen(self, name: str) -> Seen | None:
        """The agent in the last reading."""
        if self.reading is None:
            return None
        return next((one for one in self.reading.agents if one.name == name), None)

    def victims(self) -> tuple[str, ...]:
        """Who would go for another's memory, first to last."""
        if self.reading is None:
            return ()
        return tuple(one.name for one in shedding.victims(self.reading, self.state.held))
