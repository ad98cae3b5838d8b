"""How many replicas of one agent there should be: as its queue says, within its bounds and within the memory.

Invariants: never fewer than `least`, never more than `most`, never one more than leases allow; one decision in each
cool-down, so that neither a burst nor its end makes the fleet flap; without a number nothing changes. Pure. Called by
the keeper, which records each change.
"""

from __future__ import annotations

import math

from msgspec import Struct

from holdfast import limits


class Bounds(Struct, frozen=True, kw_only=True):
    """`replicas: {min, max, per_queue_depth}`."""

    least: int
    most: int
    per_queue_depth: float


class Scale(Struct, frozen=True, kw_only=True):
    """What is remembered. `low_mono`: since when fewer would do."""

    count: int
    changed_mono: float = float("-inf")
    low_mono: float | None = None


class Change(Struct, frozen=True, tag=True):
    """For the ledger. `wished`: what the queue asked for; `why` names what limits it."""

    before: int
    after: int
    wished: int
    why: str


def wish(bounds: Bounds, depth: float) -> int:
    """Replicas for a queue of this depth, within the bounds."""
    each = bounds.per_queue_depth if bounds.per_queue_depth > 0 else 1.0
    return max(bounds.least, min(bounds.most, math.ceil(max(0.0, depth) / each)))


def decide(
    state: Scale, bounds: Bounds, depth: float | None, fits: int, running: int, now: float
) -> tuple[Scale, tuple[Change, ...]]:
    """`depth` None: nobody knows. `fits`: how many more leases allow. `running`: how many have passed their gate."""
    if state.count < bounds.least or state.count > bounds.most:
        after = max(bounds.least, min(bounds.most, state.count))
        return _changed(state, after, after, "its bounds were changed", now)
    if depth is None:  # what was few is not known to be few any more
        return Scale(count=state.count, changed_mono=state.changed_mono), ()
    wished = wish(bounds, depth)
    if wished > state.count:
        state = Scale(count=state.count, changed_mono=state.changed_mono)
        after = min(wished, state.count + max(0, fits), max(state.count + 1, 2 * state.count))
        ready = running >= state.count and now - state.changed_mono >= limits.REPLICAS_UP_S
        if not ready or after == state.count:
            return state, ()
        why = f"{depth:g} wait" if after == wished else f"{depth:g} wait; memory and pace allow {after} of {wished}"
        return _changed(state, after, wished, why, now)
    if wished == state.count:
        return Scale(count=state.count, changed_mono=state.changed_mono), ()
    since = now if state.low_mono is None else state.low_mono
    state = Scale(count=state.count, changed_mono=state.changed_mono, low_mono=since)
    if now - since < limits.REPLICAS_DOWN_S:
        return state, ()
    return _changed(state, wished, wished, f"only {depth:g} wait, for {limits.REPLICAS_DOWN_S:.0f} s", now)


def _changed(state: Scale, after: int, wished: int, why: str, now: float) -> tuple[Scale, tuple[Change, ...]]:
    return Scale(count=after, changed_mono=now), (Change(before=state.count, after=after, wished=wished, why=why),)
