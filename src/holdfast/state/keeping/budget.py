"""Which snapshots go early because the repository outgrew its budget, and how much that frees.

Pure. Thinned step by step, the coarsest last, until what only the taken ones hold covers the excess. Never taken:
what is pinned (known-good among them), the newest, the newest healthy ones, and one a day. Called by thinning.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from msgspec import Struct

from holdfast.limits import BUDGET_STEPS_S, RETENTION_SLACK_PART
from holdfast.state.keeping.retention import Held, Policy, Taking, apart_s, in_order, protected
from holdfast.state.model import Pin

Spans = Mapping[tuple[int, int], int]  # (seq of the first, of the last snapshot that holds them) -> stored bytes


class Early(Struct, frozen=True, kw_only=True):
    """The plan. `enough`: False where the budget cannot be kept without taking what is never taken."""

    taken: list[Taking]
    freed_bytes: int
    enough: bool


def plan(
    held: Iterable[Held], pins: Iterable[Pin], spans: Spans, excess_bytes: int, policy: Policy | None = None
) -> Early:
    """What goes early, oldest first. `excess_bytes`: of the live ones over the budget; none or less takes nothing."""
    policy = policy or Policy()
    ordered = in_order(held)
    staying = protected(ordered, pins, policy.healthy_min)
    taken: list[Taking] = []
    freed = 0
    for all_s, every_s in BUDGET_STEPS_S:
        if freed >= excess_bytes:
            break
        going = {one.snapshot.id for one in taken}
        taken += _thin([one for one in ordered if one.snapshot.id not in going], staying, all_s, every_s)
        freed = freed_bytes(spans, [one.snapshot.seq for one in ordered], {one.snapshot.seq for one in taken})
    taken = sorted(taken, key=lambda one: one.snapshot.seq) if freed > 0 else []
    return Early(taken=taken, freed_bytes=freed, enough=freed >= excess_bytes)


def freed_bytes(spans: Spans, seqs: Iterable[int], going: set[int]) -> int:
    """Stored bytes that only snapshots in `going` hold. A span reaching beyond `seqs` is held by others."""
    staying = sorted(set(seqs) - going)
    freed = 0
    for (first, last), size in spans.items():
        if first in going and last in going and not _between(staying, first, last):
            freed += size
    return freed


def _between(ordered: list[int], first: int, last: int) -> bool:
    place = bisect_left(ordered, first)
    return place < len(ordered) and ordered[place] <= last


def _thin(ordered: list[Held], staying: frozenset[str], all_s: float, every_s: float) -> list[Taking]:
    """One step: those older than `all_s` thinned to one in `every_s`."""
    anchor: Held | None = None
    taken = []
    for one in ordered:
        if one.age_s < all_s or anchor is None or apart_s(anchor, one) >= every_s * (1 - RETENTION_SLACK_PART):
            anchor = one
        elif one.snapshot.id not in staying:
            taken.append(Taking(one.snapshot, f"over its disk budget; {anchor.snapshot.short} stays near it"))
    return taken
