"""Start slots: who may start now after a boot or `up`, so that a herd of heavy starts does not starve itself.

A slot is one core; a start takes slots by the CPU seconds it was seen to cost. Order: larger priority first, then
name; nobody overtakes the first that does not fit, so nobody waits for ever. Light agents skip the queue. Restarts
after a crash need no slot and do not ask here.
Invariant: heavy starts under way never take more slots than there are cores, and one always fits when none is.
Called by: the keeper, level-triggered, with every ladder that is QUEUED. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from holdfast.limits import SLOT_CPU_S, SLOT_HELD_MAX_S, START_LIGHT_CPU_S, START_UNKNOWN_CPU_S


class Waiting(Struct, frozen=True, kw_only=True):
    """An agent in QUEUED. `start_cpu_s`: as seen at its last start, else its recipe's, else None."""

    name: str
    priority: int = 50
    start_cpu_s: float | None = None


class Starting(Struct, frozen=True, kw_only=True):
    """An agent that was granted a slot and has not passed its start gate. `since_mono`: of the grant."""

    name: str
    start_cpu_s: float | None = None
    since_mono: float


def light(start_cpu_s: float | None) -> bool:
    """Seen to start so cheaply that waiting would cost more than it saves."""
    return start_cpu_s is not None and start_cpu_s < START_LIGHT_CPU_S


def weight(start_cpu_s: float | None, cores: int) -> float:
    """Slots a start takes; at most all of them, so that the heaviest still fits alone."""
    if light(start_cpu_s):
        return 0.0
    cost_s = START_UNKNOWN_CPU_S if start_cpu_s is None else start_cpu_s
    return min(cost_s / SLOT_CPU_S, float(max(cores, 1)))


def grant(waiting: Iterable[Waiting], starting: Iterable[Starting], cores: int, now: float) -> tuple[str, ...]:
    """Names that may start now, in the order to start them."""
    free = float(max(cores, 1))
    for holder in starting:
        if now - holder.since_mono < SLOT_HELD_MAX_S:
            free -= weight(holder.start_cpu_s, cores)
    granted: list[str] = []
    blocked = False
    for one in sorted(waiting, key=lambda w: (-w.priority, w.name)):
        takes = weight(one.start_cpu_s, cores)
        if takes == 0.0:
            granted.append(one.name)
        elif not blocked and takes <= free + 1e-9:
            granted.append(one.name)
            free -= takes
        else:
            blocked = True
    return tuple(granted)
