"""Were we away? Three clocks compared with themselves a moment ago. Pure.

CLOCK_MONOTONIC stands still while the machine sleeps, CLOCK_BOOTTIME does not, and the wall clock can be set to
anything; so their differences tell a sleep from a jump, and a late look tells that we ourselves did not run.
Invariant: a leap second and the slewing of NTP are no gap. Called by keeper.node_watch.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast import limits


class Clocks(NamedTuple):
    """All in seconds, read together."""

    mono: float
    boot: float
    wall: float


class Gap(NamedTuple):
    """`seconds` is never negative. `kind`: slept, late or jumped. `why`: one clause."""

    seconds: float
    kind: str
    why: str


def gap(before: Clocks, now: Clocks, due_s: float) -> Gap | None:
    """What happened between two looks which were to be at most `due_s` apart; the largest of the three."""
    ran = now.mono - before.mono
    slept = (now.boot - before.boot) - ran
    jumped = (now.wall - before.wall) - (now.boot - before.boot)
    late = ran - due_s
    found = [
        Gap(slept, "slept", f"the machine slept for {_span(slept)}"),
        Gap(late, "late", f"Holdfast itself did not run for {_span(late)}"),
        Gap(abs(jumped), "jumped", f"the clock was set {_span(abs(jumped))} {'forward' if jumped > 0 else 'back'}"),
    ]
    largest = max(found, key=lambda each: each.seconds)
    return largest if largest.seconds > limits.AWAY_GAP_S else None


def _span(seconds: float) -> str:
    for unit, factor in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
