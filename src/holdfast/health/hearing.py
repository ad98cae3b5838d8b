"""How long a source has been silent, counted only while it could be heard. Pure.

Invariant: silence is counted on the monotonic clock, from look to look; a gap between looks (we were away) starts the
count anew and makes what was known unknown; time in which the machine was starved is not counted. So a gap of ours is
never a failure of the agent. Called by the trackers of files, logs and pushes.
"""

from __future__ import annotations

from msgspec import Struct


class Hearing(Struct, frozen=True, kw_only=True):
    """`silent_s` of audible time since the last sign; `heard`: a sign came since we listen without a gap."""

    silent_s: float = 0.0
    looked_mono: float | None = None
    heard: bool = False
    ever: bool = False  # a sign came in this instance, also before a gap


def hear(was: Hearing, now_mono: float, *, sign: bool, able: bool, gap_s: float, excused: bool = False) -> Hearing:
    """One look. `able`: neither we nor the machine were starved since the last one; `gap_s`: longer between looks
    means that we were away; `excused`: the agent said that no sign is to be expected now, silence counts from its end.
    """
    step_s = 0.0 if was.looked_mono is None else max(0.0, now_mono - was.looked_mono)
    away = was.looked_mono is None or step_s > gap_s
    if sign:
        return Hearing(looked_mono=now_mono, heard=True, ever=True)
    if away or excused:
        return Hearing(looked_mono=now_mono, ever=was.ever)
    silent_s = was.silent_s + (step_s if able else 0.0)
    return Hearing(silent_s=silent_s, looked_mono=now_mono, heard=was.heard, ever=was.ever)


def seconds(duration_s: float) -> str:
    """ "45 s", "12 min", "3.5 h"."""
    if duration_s < 600:
        return f"{duration_s:.0f} s"
    return f"{duration_s / 60:.0f} min" if duration_s < 2 * 3600 else f"{duration_s / 3600:.1f} h"
