"""What people are shown of memory: an agent's lease, place in the order of shedding and in the queue; the node's room.

Invariant: only looks, and never fails: a part that has not begun, or that does not know an agent, shows as nothing
rather than as zero. One `Shown` serves one look at the whole fleet. Called by the keeper for `ps`, `top`, `describe`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, structs

from holdfast.density import coming_back, leases
from holdfast.density.model import Lease
from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.telling.views import NodeView, QueuedView, ReplicaView

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


_IN_SENTENCES = ("need_bytes", "room_bytes", "budget_bytes", "asleep_s")


class Shown(Struct, frozen=True, kw_only=True):
    """The memory of one agent as its row has it; see views.AgentRow.

    Not in its row, but in its sentences: `need_bytes` that its start takes while it is down for want of memory, and
    `room_bytes`, which are there for starts now, of the `budget_bytes` of all; `asleep_s`: for how long it sleeps.
    """

    lease_bytes: int | None = None
    usage_bytes: int | None = None
    ceiling_bytes: int | None = None
    start_lease_bytes: int | None = None
    protected: bool = False
    shed_order: int | None = None
    asleep: Literal["", "frozen", "stopped"] = ""
    awake: str = ""
    saved_bytes: int | None = None
    wake_s: float | None = None
    queued: QueuedView | None = None
    replica: ReplicaView | None = None
    unheld: str = ""
    need_bytes: int | None = None
    room_bytes: int | None = None
    budget_bytes: int | None = None
    asleep_s: float | None = None

    def row(self) -> dict[str, Any]:
        """The fields of views.AgentRow."""
        fields = structs.asdict(self)
        for name in _IN_SENTENCES:
            del fields[name]
        return fields


NOTHING = Shown()


class Look:
    """One look at the memory of all agents."""

    def __init__(self, keeper: Keeper) -> None:
        self._semaphore, self._starts = keeper.semaphore, keeper.starts
        self._semaphore.freshen()
        reading = self._semaphore.reading
        self._seen = {one.name: one for one in reading.agents} if reading is not None else {}
        self._protected = leases.protected(reading) if reading is not None else frozenset()
        line = (name for name in self._semaphore.victims() if name not in self._protected)
        self._order = {name: number for number, name in enumerate(line, start=1)}
        groups = (
            one.spec.scaling.group for one in keeper.agents.values() if one.spec.scaling is not None and _runs(one)
        )
        self._running = Counter(groups)
        self._agents = keeper.agents
        self._now_at = keeper.clock.now_at()

    def of(self, agent: Agent) -> Shown:
        """One agent's part."""
        rest, scaling = agent.rest_view, agent.spec.scaling
        lease = self._semaphore.lease(agent.name)
        waits = agent.ladder.phase in (Phase.SHED, Phase.QUEUED)
        seen = self._seen.get(agent.name)
        usage = lease.usage_bytes if lease is not None else seen.usage_bytes if seen is not None else None
        return Shown(
            lease_bytes=None if lease is None else kept_bytes(lease),
            usage_bytes=usage,
            ceiling_bytes=None if seen is None else seen.ceiling_bytes,
            start_lease_bytes=self._starts.lease_bytes(agent) or None,
            protected=agent.name in self._protected,
            shed_order=self._order.get(agent.name),
            asleep=rest.asleep,
            awake="" if rest.asleep or not agent.ladder.running else rest.awake,
            saved_bytes=rest.saved_bytes if rest.asleep else None,
            wake_s=rest.wake_s,
            queued=queued(agent),
            replica=None
            if scaling is None
            else ReplicaView(group=scaling.group, number=scaling.number, wanted=self._running[scaling.group]),
            unheld=agent.memory.unheld if agent.ladder.running else "",
            asleep_s=None if not rest.asleep or rest.since_at is None else max(0.0, self._now_at - rest.since_at),
            need_bytes=self._need(agent) if waits else None,
            room_bytes=self._semaphore.room() if waits and self._semaphore.reading is not None else None,
            budget_bytes=self._semaphore.budget_bytes,
        )

    def _need(self, agent: Agent) -> int:
        """What has to be free for it: who was shed comes back only when something is left beside it."""
        need, budget = self._starts.need(agent), self._semaphore.budget_bytes
        return coming_back.room_for(need, budget) if agent.ladder.phase is Phase.SHED else need

    def node(self, view: NodeView) -> NodeView:
        """The node as its watch shows it, with its memory."""
        waiting = sum(1 for agent in self._agents.values() if agent.ladder.phase is Phase.QUEUED)
        state, reading, node = self._semaphore.state, self._semaphore.reading, self._semaphore.node
        if reading is None:
            return structs.replace(view, queued=waiting)
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


def kept_bytes(lease: Lease) -> int:
    """What is kept for it: without what it is lent of memory that nobody else wants just now."""
    return lease.usage_bytes + min(lease.slack_bytes, lease.wanted_bytes)


def queued(agent: Agent) -> QueuedView | None:
    """How it stands in the queue; None when it does not stand there, or nobody looked yet."""
    standing = agent.standing
    if standing is None or agent.ladder.phase is not Phase.QUEUED:
        return None
    return QueuedView(position=standing.position, why=standing.why, estimate_s=standing.estimate_s)


def _runs(agent: Agent) -> bool:
    """Whether a replica is to run now."""
    return agent.ladder.wanted and agent.ladder.phase is not Phase.SPARE
