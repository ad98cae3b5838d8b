"""How many more agents fit on this node: what the keeper knows, put together for density.capacity.

Every agent that is wanted counts with what it was seen to hold at work; what was never seen is taken from its recipe,
and said so. Nothing here changes anything; `look` may read the disk, so it belongs into a thread. Called by the API
for `holdfast capacity`, with what room_asked.py collects in the keeper's loop.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from holdfast import limits, recipes
from holdfast.density import capacity, history, leases, node_memory
from holdfast.density.capacity import Fit, Free, Holder, Kind
from holdfast.density.history import History
from holdfast.density.node_memory import Node
from holdfast.node.memory import NodeMemory
from holdfast.sizes import size
from holdfast.spec.recipe import Ask

_REPLICA = re.compile(r"-\d+$")  # as spec names replicas


class KindView(Struct, frozen=True, kw_only=True):
    """One kind of agent: what each of it takes, and how many `more` fit, were it the only kind that is added.

    `work_bytes`: 95 of 100 `readings` of its work were not above it, when it is `seen`; else most of what its start
    took, or takes as its recipe says, or what it holds now, if that is more. `limited_by`: memory, start, cpu, disk
    or nothing.
    """

    name: str
    recipe: str
    agents: list[str]
    work_bytes: int
    start_bytes: int
    cpu: float
    disk_bytes: int
    readings: int
    seen: bool
    more: int
    limited_by: str
    why: str


class HolderView(Struct, frozen=True, kw_only=True):
    """One agent that has its place. `counted_bytes`: what it is counted with; `usage_bytes`: what it holds now."""

    name: str
    priority: int
    usage_bytes: int | None
    work_bytes: int
    counted_bytes: int
    asleep: bool = False


class Capacity(Struct, frozen=True, kw_only=True):
    """The answer. `budget_bytes`: of the node, less the reserve and what other software holds; `counted_bytes`: what
    the agents there are take of it when all of them work; `free_bytes` is left. `notes`: what else matters."""

    node_bytes: int
    node_why: str
    reserve_bytes: int
    others_bytes: int
    budget_bytes: int
    counted_bytes: int
    free_bytes: int
    cores: float
    cores_free: float
    disk_free_bytes: int
    kinds: list[KindView]
    agents: list[HolderView]
    notes: list[str]


class Known(Struct, frozen=True, kw_only=True):
    """One agent as the keeper's loop knows it, taken there so that the rest can be done aside."""

    name: str
    recipe: str
    like: tuple[str, ...]  # agents with the same are of one kind
    priority: int
    counts: bool  # wanted, and not a replica that is not needed now
    usage_bytes: int | None
    lease_bytes: int
    start_bytes: int
    limit_bytes: int | None
    cpu: float
    asleep: bool
    history: History


class NodeKnown(Struct, frozen=True, kw_only=True):
    """The node likewise. `budget_bytes` None: nobody counted yet."""

    node: Node | None
    budget_bytes: int | None
    home: str


def look(node: NodeKnown, agents: Sequence[Known], wanted: str = "") -> Capacity | None:
    """Everything, or of one agent or recipe only. None: there is none of that name."""
    kinds = _kinds(agents)
    chosen = [one for one in kinds if _is_meant(one, wanted)] if wanted else kinds
    if wanted and not chosen and wanted in recipes.names():
        chosen = [_Of(name=wanted, recipe=wanted, members=())]
    if wanted and not chosen:
        return None
    if not wanted:
        there = {one.recipe for one in kinds}
        chosen += [_Of(name=name, recipe=name, members=()) for name in limits.CAPACITY_RECIPES if name not in there]
    room = node.node or _machine()
    budget = room.budget_bytes if node.budget_bytes is None else node.budget_bytes
    slack = leases.slack_bounds(room.bytes, room.reserve_bytes).least_bytes
    counting = [one for one in agents if one.counts and one.start_bytes <= budget]  # else it never starts here
    holders = [_holder(one) for one in counting]
    counted = sum(capacity.promised(one, slack) for one in holders)
    cores = float(len(os.sched_getaffinity(0)))
    free = Free(
        memory_bytes=budget - counted,
        cores=max(0.0, cores - sum(_cpu(one) for one in counting)),
        disk_bytes=_disk_free(node.home),
    )
    numbered = [replace(_kind(one), name=f"{number:06}") for number, one in enumerate(chosen)]  # names may be equal
    found = capacity.fits(numbered, free, slack)
    return Capacity(
        node_bytes=room.bytes,
        node_why=room.why,
        reserve_bytes=room.reserve_bytes,
        others_bytes=max(0, room.budget_bytes - budget),
        budget_bytes=budget,
        counted_bytes=counted,
        free_bytes=free.memory_bytes,
        cores=cores,
        cores_free=round(free.cores, 2),
        disk_free_bytes=free.disk_bytes,
        kinds=[_view(one, fit) for one, fit in zip(chosen, found, strict=True)],
        agents=[_holder_view(known, one, slack) for known, one in zip(counting, holders, strict=True)],
        notes=list(_notes(agents, counting, holders, slack, free.memory_bytes)),
    )


# --- kinds -------------------------------------------------------------------------------------------------------
class _Of(Struct, frozen=True, kw_only=True):
    """One kind while it is put together. `members` empty: a recipe that nobody uses here yet."""

    name: str
    recipe: str
    members: tuple[Known, ...]


def _kinds(agents: Iterable[Known]) -> list[_Of]:
    """Replicas are of one kind, and all agents of a recipe that knows its program; whoever else is alone."""
    found: dict[tuple[str, ...], _Of] = {}
    for one in agents:
        known = one.recipe in limits.CAPACITY_RECIPES
        name = one.recipe if known else _REPLICA.sub("", one.name)
        key = (one.recipe,) if known else (one.recipe, name, *one.like)
        before = found.get(key)
        members = (*before.members, one) if before is not None else (one,)
        found[key] = _Of(name=name if len(members) > 1 or known else one.name, recipe=one.recipe, members=members)
    return list(found.values())


def _is_meant(kind: _Of, wanted: str) -> bool:
    return wanted in (kind.name, kind.recipe) or any(one.name == wanted for one in kind.members)


def _kind(of: _Of) -> Kind:
    told = history.merged(one.history for one in of.members)
    starts = [one.start_bytes for one in of.members]
    start = max(starts) if starts else recipe_start(of.recipe)
    return Kind(
        name=of.name,
        steady_bytes=_work(told, start, max((one.usage_bytes or 0 for one in of.members), default=0)),
        start_bytes=start,
        cpu=round(told.cpu, 3),
        disk_bytes=told.disk_bytes,
        readings=told.readings if told.worked else 0,
    )


def _view(of: _Of, fit: Fit) -> KindView:
    kind = _kind(of)
    return KindView(
        name=of.name,
        recipe=of.recipe,
        agents=[one.name for one in of.members],
        work_bytes=kind.steady_bytes,
        start_bytes=kind.start_bytes,
        cpu=kind.cpu,
        disk_bytes=kind.disk_bytes,
        readings=kind.readings,
        seen=kind.readings > 0,
        more=fit.more,
        limited_by=fit.limited_by,
        why=fit.why,
    )


def recipe_start(name: str) -> int:
    """What the first start of an agent of this recipe is taken to need, in bytes."""
    default = recipes.find(name).defaults(Ask(options={})).values.get(("memory", "start_default"))
    return int(default.value) if default is not None and default.value else limits.START_NEED_BYTES


def _work(told: History, start_bytes: int, usage_bytes: int) -> int:
    """What it holds at work. Who was only seen waiting is taken to need most of what its start took."""
    if told.worked:
        return told.mark_bytes
    return max(told.mark_bytes, usage_bytes, int(start_bytes * limits.CAPACITY_WORK_SHARE))


# --- the node ----------------------------------------------------------------------------------------------------
def _holder(one: Known) -> Holder:
    work = _work(one.history, one.start_bytes, one.usage_bytes or 0)
    if one.limit_bytes is not None:
        work = min(work, one.limit_bytes)
    return Holder(
        name=one.name, lease_bytes=one.lease_bytes, work_bytes=work, start_bytes=one.start_bytes, asleep=one.asleep
    )


def _holder_view(known: Known, holder: Holder, slack: int) -> HolderView:
    return HolderView(
        name=known.name,
        priority=known.priority,
        usage_bytes=known.usage_bytes,
        work_bytes=holder.work_bytes,
        counted_bytes=capacity.promised(holder, slack),
        asleep=known.asleep,
    )


def _cpu(one: Known) -> float:
    return one.history.cpu or one.cpu


def _machine() -> Node:
    """The machine itself, as long as nobody looked at the node."""
    memory = NodeMemory()
    try:
        found = memory.read()
    finally:
        memory.close()
    return node_memory.which(found.total_bytes if found is not None else 0)


def _disk_free(home: str) -> int:
    """Bytes that may be taken before the disk counts as full."""
    try:
        found = os.statvfs(home)
    except OSError:
        return 0
    return max(0, found.f_bavail * found.f_frsize - int((1 - limits.DISK_FULL_SHARE) * found.f_blocks * found.f_frsize))


def _notes(
    agents: Sequence[Known], counting: Sequence[Known], holders: Sequence[Holder], slack: int, free_bytes: int
) -> Iterable[str]:
    if free_bytes < 0:
        yield f"when all of them work they need {size(-free_bytes)} more than there is: the least important would go"
    asleep = [one for one in holders if one.asleep]
    if asleep:
        awake = sum(capacity.each_bytes(one.work_bytes, slack) for one in asleep)
        holds = sum(one.lease_bytes for one in asleep)
        yield f"{len(asleep)} asleep hold {size(holds)}; awake and at work they need {size(awake)}"
    starts = [(one.start_bytes - capacity.promised(one, slack), one) for one in holders if not one.asleep]
    more, largest = max(starts, key=lambda pair: (pair[0], pair[1].name), default=(0, None))
    if largest is not None and more > max(0, free_bytes):
        yield (
            f"a start of {largest.name} takes {size(largest.start_bytes)} for a while: when all others work, "
            f"{size(more - max(0, free_bytes))} are missing and the least important would go for it"
        )
    large = [one.name for one in agents if one.counts and one not in counting]
    if large:
        yield f"larger than the whole node, so not counted: {_some(large)}"
    new = [one.name for one in counting if not one.history.worked]
    if new:
        yield f"not seen at work yet: {_some(new)}"


def _some(names: list[str]) -> str:
    more = len(names) - limits.NAMES_SHOWN
    return ", ".join(names[: limits.NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
