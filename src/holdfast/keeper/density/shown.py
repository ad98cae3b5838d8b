"""What people are shown of memory: an agent's lease, place in the order of shedding and in the queue; the node's room.

Invariant: only looks, and never fails: a part that has not begun, or that does not know an agent, shows as nothing
rather than as zero. One `Shown` serves one look at the whole fleet. Called by the keeper for `ps`, `top`, `describe`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, structs

from holdfast.density import leases
from holdfast.density.model import Reading
from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.views import NodeView, QueuedView, ReplicaView

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


class Shown(Struct, frozen=True, kw_only=True):
    """The memory of one agent as its row has it; see views.AgentRow."""

    lease_bytes: int | None = None
    usage_bytes: int | None = None
    ceiling_bytes: int | None = None
    start_lease_bytes: int | None = None
    protected: bool = False
    shed_order: int | None = None
    asleep: Literal["", "frozen", "stopped"] = ""
    saved_bytes: int | None = None
    wake_s: float | None = None
    queued: QueuedView | None = None
    replica: ReplicaView | None = None


NOTHING = Shown()


class Look:
    """One look at the memory of all agents."""

    def __init__(self, keeper: Keeper) -> None:
        self._semaphore: Any = getattr(keeper, "semaphore", None)
        self._starts: Any = getattr(keeper, "starts", None)
        self._sleepers: Any = getattr(keeper, "sleepers", None)
        self._scaler: Any = getattr(keeper, "scaler", None)
        reading: Reading | None = None if self._semaphore is None else self._semaphore.reading
        self._seen = {one.name: one for one in reading.agents} if reading is not None else {}
        self._protected = leases.protected(reading) if reading is not None else frozenset()
        victims = self._semaphore.victims() if self._semaphore is not None else ()
        line = (name for name in victims if name not in self._protected)
        self._order = {name: number for number, name in enumerate(line, start=1)}
        self._agents = keeper.agents

    def of(self, agent: Agent) -> Shown:
        """One agent's part."""
        asleep, saved, wake_s = self._rest(agent)
        lease = self._semaphore.lease(agent.name) if self._semaphore is not None else None
        seen = self._seen.get(agent.name)
        usage = lease.usage_bytes if lease is not None else seen.usage_bytes if seen is not None else None
        start = self._starts.lease_bytes(agent) if self._starts is not None else 0
        return Shown(
            lease_bytes=None if lease is None else lease.lease_bytes,
            usage_bytes=usage,
            ceiling_bytes=None if seen is None else seen.ceiling_bytes,
            start_lease_bytes=start or None,
            protected=agent.name in self._protected,
            shed_order=self._order.get(agent.name),
            asleep=asleep,
            saved_bytes=saved,
            wake_s=wake_s,
            queued=queued(agent),
            replica=self._replica(agent),
        )

    def node(self, view: NodeView) -> NodeView:
        """The node as its watch shows it, with its memory."""
        waiting = sum(1 for agent in self._agents.values() if agent.ladder.phase is Phase.QUEUED)
        if self._semaphore is None or self._semaphore.reading is None:
            return structs.replace(view, queued=waiting)
        state, reading, node = self._semaphore.state, self._semaphore.reading, self._semaphore.node
        return structs.replace(
            view,
            memory_bytes=reading.node_bytes,
            reserve_bytes=reading.reserve_bytes,
            budget_bytes=state.budget_bytes,
            agents_bytes=sum(each.usage_bytes for each in reading.agents),
            leased_bytes=state.budget_bytes - state.free_bytes,
            free_bytes=state.free_bytes,
            swap_free_bytes=reading.swap_free_bytes,
            available_bytes=reading.available_bytes,
            memory_why="" if node is None else node.why,
            queued=waiting,
        )

    def _rest(self, agent: Agent) -> tuple[Literal["", "frozen", "stopped"], int | None, float | None]:
        rest: Any = getattr(agent, "rest_view", None)
        saved = getattr(rest, "saved_bytes", None)
        wake_s = getattr(rest, "wake_s", None)
        if agent.ladder.phase.value == "hibernating":
            return "stopped", saved, wake_s
        if self._sleepers is not None and self._sleepers.is_frozen(agent.name):
            return "frozen", saved, wake_s
        return "", None, wake_s

    def _replica(self, agent: Agent) -> ReplicaView | None:
        scaling = agent.spec.scaling
        if scaling is None:
            return None
        wanted = sum(1 for each in self._agents.values() if _runs(each, scaling.group))
        return ReplicaView(group=scaling.group, number=scaling.number, wanted=wanted)


def queued(agent: Agent) -> QueuedView | None:
    """How it stands in the queue; None when it does not stand there, or nobody looked yet."""
    standing: Any = getattr(agent, "standing", None)
    if standing is None or agent.ladder.phase is not Phase.QUEUED:
        return None
    return QueuedView(position=standing.position, why=standing.why, estimate_s=standing.estimate_s)


def _runs(agent: Agent, group: str) -> bool:
    """Whether it is one of the group, and not a replica that is not needed now."""
    scaling = agent.spec.scaling
    return (
        scaling is not None and scaling.group == group and agent.ladder.phase.value != "spare" and agent.ladder.wanted
    )
