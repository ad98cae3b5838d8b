"""A death for memory in numbers: its limit or lease, what it held a moment before, and how fast that grew. Pure.

Invariant: only what was read is said; a reading long before the death, or a growth that the readings do not show, is
left out. Called by the cause rules, and by the keeper for the exit in words.
"""

from __future__ import annotations

from holdfast import limits
from holdfast.incidents.facts import MemoryFacts
from holdfast.sizes import size


def words(memory: MemoryFacts, died_at: float) -> str:
    """One clause, such as "512 MB limit, 498 MB 2 s before, growing 3 MB/s"; "" when nothing is known."""
    parts = [f"its lease of {size(memory.lease_bytes)}"] if memory.lease_bytes else []
    parts += [f"{size(memory.limit_bytes)} limit"] if memory.limit_bytes else []
    before = [(at, held) for at, held in memory.curve if at <= died_at and died_at - at <= limits.DEATH_CURVE_S]
    if before:
        at, held = before[-1]
        parts.append(f"{size(held)} {_ago(died_at - at)} before")
        rate = _rate(before)
        if rate is not None:
            parts.append(f"growing {size(rate)}/s" if rate >= 1000 else "not growing then")
    if memory.peak_bytes and not before:
        parts.append(f"peak {size(memory.peak_bytes)}")
    return ", ".join(parts)


def _rate(before: list[tuple[float, int]]) -> float | None:
    """Bytes a second over the last readings; None when they are too few or too close."""
    (first_at, first), (last_at, last) = before[0], before[-1]
    if last_at - first_at < limits.DEATH_RATE_SPAN_S:
        return None
    lowest = min(before, key=lambda point: point[1])  # a collection in between begins the growth anew
    if last_at - lowest[0] >= limits.DEATH_RATE_SPAN_S:
        first_at, first = lowest
    return max(0.0, (last - first) / (last_at - first_at))


def _ago(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
