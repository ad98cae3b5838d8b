"""Planned restarts and maintenance windows: which moment is due, and what to do with one. Pure.

Times are wall clock seconds since the epoch (`*_at`). In a zone, a time that daylight saving skips happens at the
moment after the gap; one that comes twice happens at its first coming only.
Invariant: every slot is settled once (done or passed over), and one long past is passed over, never made up.
Called by keeper/acting/planned.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct

from holdfast.limits import PLANNED_LATE_MAX_S
from holdfast.spec.model import Maintenance, PlannedTime

_DAYS_LOOKED_AT = 8  # a week and a day: every weekday is met at least once on either side of now


def moment(time: PlannedTime, day: date) -> float:
    """When `time` happens on `day` of its zone."""
    zone = ZoneInfo(time.zone)
    wanted = datetime(day.year, day.month, day.day, time.hour, time.minute, tzinfo=zone)  # fold 0: the first coming
    at = wanted.timestamp()
    shown = datetime.fromtimestamp(at, zone)
    if (shown.hour, shown.minute) == (time.hour, time.minute):
        return at
    # Skipped: with fold 0 the offset before the gap was taken, with fold 1 the one behind it. Between lies the gap.
    before, behind = wanted.utcoffset(), wanted.replace(fold=1).utcoffset()
    assert before is not None
    assert behind is not None
    low, high = sorted((wanted.replace(tzinfo=UTC) - offset).timestamp() for offset in (before, behind))
    while high - low > 1:
        middle = (low + high) // 2
        shifted = datetime.fromtimestamp(middle, zone).utcoffset() == behind
        low, high = (low, middle) if shifted else (middle, high)
    return float(high)


def _on(time: PlannedTime, day: date) -> bool:
    return not time.days or day.weekday() in time.days


def latest(times: Iterable[PlannedTime], now_at: float) -> float | None:
    """The last slot at or before `now_at`, within a week; None without one."""
    found: list[float] = []
    for time in times:
        today = datetime.fromtimestamp(now_at, ZoneInfo(time.zone)).date()
        for back in range(_DAYS_LOOKED_AT):
            day = today - timedelta(days=back)
            if _on(time, day) and (at := moment(time, day)) <= now_at:
                found.append(at)
                break
    return max(found, default=None)


def following(times: Iterable[PlannedTime], now_at: float) -> float | None:
    """The first slot after `now_at`."""
    found: list[float] = []
    for time in times:
        today = datetime.fromtimestamp(now_at, ZoneInfo(time.zone)).date()
        for ahead in range(_DAYS_LOOKED_AT + 1):
            day = today + timedelta(days=ahead)
            if _on(time, day) and (at := moment(time, day)) > now_at:
                found.append(at)
                break
    return min(found, default=None)


class Choice(StrEnum):
    NOTHING = "nothing"  # no slot is open
    WAIT = "wait"  # one is, and it is not yet the time for it
    RESTART = "restart"
    PASS = "pass over"


class Sight(Struct, frozen=True, kw_only=True):
    """What the rule looks at. `settled_at`: the last slot that was done or passed over."""

    settled_at: float
    well: bool  # up, past its start gate, no incident open
    idle: bool | None  # None: it does not say
    when_idle: bool = False
    idle_wait_s: float = 0.0
    hands_off: bool = False  # a maintenance is on: nothing is done to it
    room: bool = True  # not too many others are being restarted by plan at this moment


def choose(times: Iterable[PlannedTime], sight: Sight, now_at: float) -> tuple[Choice, float, str]:
    """What to do, about which slot, and why in words. `at` 0.0 with NOTHING."""
    slot = latest(times, now_at)
    if slot is None or slot <= sight.settled_at:
        return Choice.NOTHING, 0.0, ""
    late_s = now_at - slot
    patience_s = max(PLANNED_LATE_MAX_S, sight.idle_wait_s if sight.when_idle else 0.0)
    if late_s > patience_s:
        busy = sight.when_idle and sight.well and sight.idle is False
        return Choice.PASS, slot, "it was never idle" if busy else f"it came {late_s / 60:.0f} minutes late"
    if sight.hands_off:
        return Choice.WAIT, slot, "it is in maintenance"
    if not sight.well:
        return Choice.WAIT, slot, "it is not well at present"
    if sight.when_idle and sight.idle is False:
        return Choice.WAIT, slot, "it is busy"
    if not sight.room:
        return Choice.WAIT, slot, "others are being restarted"
    return Choice.RESTART, slot, ""


def hands_off(maintenance: Maintenance, now_at: float) -> bool:
    """Whether a maintenance is on now."""
    if maintenance.on:
        return True
    begun = latest(maintenance.windows, now_at)
    return begun is not None and now_at < begun + maintenance.length_s


def hands_off_turns_at(maintenance: Maintenance, now_at: float) -> float | None:
    """When the answer of `hands_off` changes next; None: never."""
    if maintenance.on or not maintenance.windows:
        return None
    begun = latest(maintenance.windows, now_at)
    if begun is not None and now_at < begun + maintenance.length_s:
        return begun + maintenance.length_s
    return following(maintenance.windows, now_at)
