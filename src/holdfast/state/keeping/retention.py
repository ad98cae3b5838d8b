"""Which snapshots the ordinary rule takes: all of a day, hourly for a week, daily for a month, weekly for a year.

Pure. A snapshot goes only when it is surely old and surely has a neighbour that stays. Surely old: by the age of
aging.py, which no clock can raise. Surely near: by what is larger, the distance of the dates or that of the ages. So
a clock that jumps makes more stay, never less; dates in the future or out of order say nothing against anybody.
Pinned ones, the newest, and the newest healthy ones always stay. Called by thinning.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from holdfast.limits import (
    RETENTION_ALL_S,
    RETENTION_HEALTHY_MIN,
    RETENTION_SLACK_PART,
    RETENTION_STEPS_S,
)
from holdfast.state.model import Pin, Snapshot


class Policy(Struct, frozen=True, kw_only=True):
    """The rule. `steps`: up to this age (s) one in so many seconds; beyond the last step nothing is kept."""

    all_s: float = RETENTION_ALL_S
    steps: tuple[tuple[float, float], ...] = RETENTION_STEPS_S
    healthy_min: int = RETENTION_HEALTHY_MIN


class Held(Struct, frozen=True):
    """A snapshot as the rules see it. `age_s`: at least so old."""

    snapshot: Snapshot
    age_s: float
    healthy: bool = False


class Taking(Struct, frozen=True):
    """One that goes to trash, and why, for people."""

    snapshot: Snapshot
    why: str


def plan(held: Iterable[Held], pins: Iterable[Pin], policy: Policy | None = None) -> list[Taking]:
    """What goes to trash, oldest first. Doing it twice takes nothing more."""
    policy = policy or Policy()
    ordered = in_order(held)
    staying = protected(ordered, pins, policy.healthy_min)
    taken = []
    anchor: Held | None = None
    for one in ordered:
        every_s = _every_s(one.age_s, policy)
        if every_s is None:
            why = f"older than {_words(policy.steps[-1][0] if policy.steps else policy.all_s)}"
        elif anchor is None or every_s == 0.0 or apart_s(anchor, one) >= every_s * (1 - RETENTION_SLACK_PART):
            anchor = one
            continue
        else:
            why = f"one in {_words(every_s)} is kept at its age, and {anchor.snapshot.short} is it"
        if one.snapshot.id not in staying:
            taken.append(Taking(one.snapshot, why))
    return taken


def in_order(held: Iterable[Held]) -> list[Held]:
    """As they were made, whatever their dates say."""
    return sorted(held, key=lambda one: (one.snapshot.seq, one.snapshot.epoch, one.snapshot.id))


def protected(ordered: Sequence[Held], pins: Iterable[Pin], healthy_min: int) -> frozenset[str]:
    """Ids that no rule takes: pinned, the newest, the newest healthy ones (of too few healthy ones: also others)."""
    newest = {one.snapshot.id for one in ordered[-1:]}
    healthy = [one.snapshot.id for one in ordered if one.healthy][-healthy_min:] if healthy_min else []
    if len(healthy) < healthy_min:
        newest |= {one.snapshot.id for one in ordered[-healthy_min:]}
    return frozenset(newest | set(healthy) | {pin.id for pin in pins})


def apart_s(one: Held, other: Held) -> float:
    """How far two snapshots may lie apart: the larger of what the dates and what the ages say."""
    return max(abs(one.snapshot.at - other.snapshot.at), abs(one.age_s - other.age_s))


def _every_s(age_s: float, policy: Policy) -> float | None:
    """How sparse they may be at that age; 0: all stay; None: none need stay."""
    if age_s < policy.all_s:
        return 0.0
    return next((every_s for until_s, every_s in policy.steps if age_s < until_s), None)


def _words(seconds: float) -> str:
    for size, word in ((365 * 86400.0, "year"), (7 * 86400.0, "week"), (86400.0, "day"), (3600.0, "hour")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {word}s" if count > 1 else f"a{'n' if word == 'hour' else ''} {word}"
    return f"{round(seconds / 60)} minutes"
