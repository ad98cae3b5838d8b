"""How many more of which agents fit on this node, and what limits that: from what was seen of them. Pure.

An agent counts with what it holds when it works (not when it waits), and with its start's peak where only one start at
a time has to fit. One that sleeps counts with what it holds asleep: that is what sleeping is for. Called by the keeper
for `holdfast capacity`.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from holdfast import limits
from holdfast.sizes import size


class Kind(Struct, frozen=True, kw_only=True):
    """One kind of agent as history knows it. `steady_bytes`: high mark of its work (95 of 100 readings)."""

    name: str
    steady_bytes: int
    start_bytes: int
    cpu: float = 0.0  # cores, on average
    disk_bytes: int = 0
    readings: int = 0  # 0: nothing was seen, the recipe's figures are used


class Holder(Struct, frozen=True, kw_only=True):
    """One agent that has its place on the node already. `lease_bytes`: now, 0 while it is down."""

    name: str
    lease_bytes: int
    work_bytes: int
    start_bytes: int
    asleep: bool = False


class Free(Struct, frozen=True, kw_only=True):
    """What is left of the node. `memory_bytes`: semaphore.State.free_bytes; `cores`: less what is used on average."""

    memory_bytes: int
    cores: float
    disk_bytes: int


class Fit(Struct, frozen=True, kw_only=True):
    """`more`: how many more fit; `limited_by`: memory, start, cpu, disk or nothing; `sure`: from history."""

    name: str
    more: int
    limited_by: str
    why: str
    sure: bool


MOST = 10_000  # beyond it the answer is "as many as you like"


def each_bytes(work_bytes: int, slack_bytes: int) -> int:
    """What one agent has to be counted with: its work, some more for what was not seen, and its least slack."""
    return int(work_bytes * limits.CAPACITY_SAFETY) + slack_bytes


def promised(holder: Holder, slack_bytes: int) -> int:
    """What is kept for an agent that has its place, in bytes."""
    if holder.asleep:
        return holder.lease_bytes
    return max(holder.lease_bytes, each_bytes(holder.work_bytes, slack_bytes))


def fits(kinds: Iterable[Kind], free: Free, slack_bytes: int) -> tuple[Fit, ...]:
    """For each kind alone: how many more of it. `slack_bytes`: the least slack each of them needs beside its use."""
    return tuple(_fit(kind, free, slack_bytes) for kind in sorted(kinds, key=lambda one: one.name))


def _fit(kind: Kind, free: Free, slack_bytes: int) -> Fit:
    each = each_bytes(kind.steady_bytes, slack_bytes)
    memory = max(0, free.memory_bytes)
    by_memory = memory // each if each > 0 else MOST
    extra = max(0, kind.start_bytes - each)  # the last to start needs its peak beside all others
    by_start = (memory - extra) // each if memory >= kind.start_bytes and each > 0 else 0
    found = {
        "memory": int(by_memory),
        "start": int(max(0, by_start)),
        "cpu": int(max(0.0, free.cores) / kind.cpu) if kind.cpu > 0 else MOST,
        "disk": max(0, free.disk_bytes) // kind.disk_bytes if kind.disk_bytes > 0 else MOST,
    }
    limit = min(found, key=lambda name: (found[name], list(found).index(name)))
    more = min(MOST, found[limit])
    uses = f"{kind.cpu:.2f}" if kind.cpu >= 0.005 else "less than 0.01"
    why = {
        "memory": f"each holds {size(each)} when it works, {size(memory)} are free",
        "start": f"a start takes {size(kind.start_bytes)} for a while, {size(memory)} are free",
        "cpu": f"each uses {uses} cores on average, {max(0.0, free.cores):.2f} are free",
        "disk": f"each keeps {size(kind.disk_bytes)} on disk, {size(max(0, free.disk_bytes))} are free",
    }[limit]
    return Fit(
        name=kind.name, more=more, limited_by=limit if more < MOST else "nothing", why=why, sure=kind.readings > 0
    )
