"""When an agent that leaks is restarted: before it reaches its limit, and at the time that disturbs least. Pure.

Invariants: nobody is restarted for growth that is not confirmed, and nobody again within LEAK_AGAIN_S, so that a
program which fills in minutes is seen to die and climbs the ladder. In this order: when hardly any time is left; in
the quiet hour, if the next one comes too late; when it says that it is idle, if no quiet hour comes in time. Called by
keeper.density.growth for each reading of an agent whose memory grows.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from enum import StrEnum
from typing import NamedTuple

from holdfast import limits
from holdfast.health.resources import about
from holdfast.health.trend import Trend, limit_in_s
from holdfast.sizes import size


class When(StrEnum):
    """LATER: it leaks, and there is time."""

    LATER = "later"
    IDLE = "idle"
    QUIET = "quiet"
    LAST = "last"


class Night(NamedTuple):
    """The quiet hour. `left_s`: of the present one, 0 outside of it; `next_s`: until the next one begins."""

    left_s: float
    next_s: float


class Sight(NamedTuple):
    """One agent now. `idle` None: it does not say. `since_s`: since it was last restarted for this."""

    used_bytes: int
    limit_bytes: int
    trend: Trend | None
    rush: Trend | None
    idle: bool | None
    grace_s: float
    warn_share: float
    alarm_share: float
    night: Night
    since_s: float = float("inf")


class Leak(NamedTuple):
    """`soon_s`: until the limit. `why`: the numbers in one clause."""

    when: When
    soon_s: float
    slope_bytes_s: float
    limit_bytes: int
    why: str


def night(now_at: float, zone: tzinfo | None = None) -> Night:
    """By the clock on the wall. `zone` None: the machine's."""
    local = datetime.fromtimestamp(now_at, zone)
    day_s = 86_400.0
    passed_s = local.hour * 3600.0 + local.minute * 60.0 + local.second
    begins_s, ends_s = limits.QUIET_HOUR_BEGINS_H * 3600.0, limits.QUIET_HOUR_ENDS_H * 3600.0
    left_s = ends_s - passed_s if begins_s <= passed_s < ends_s else 0.0
    return Night(left_s, (begins_s - passed_s) % day_s or day_s)


def judge(sight: Sight) -> Leak | None:
    """None: no leak worth a restart."""
    if sight.limit_bytes <= 0 or sight.since_s < limits.LEAK_AGAIN_S:
        return None
    share = sight.used_bytes / sight.limit_bytes
    rush_s = limit_in_s(sight.used_bytes, sight.limit_bytes, sight.rush)
    last_s = sight.grace_s + limits.LEAK_RUSH_LAST_S
    if rush_s is not None and sight.rush is not None and share >= sight.alarm_share and rush_s <= last_s:
        return _leak(When.LAST, rush_s, sight, sight.rush)
    soon_s = limit_in_s(sight.used_bytes, sight.limit_bytes, sight.trend)
    if soon_s is None or sight.trend is None or share < limits.TREND_SHARE_MIN:
        return None
    return _leak(_when(sight, soon_s, share, sight.trend), soon_s, sight, sight.trend)


def _when(sight: Sight, soon_s: float, share: float, trend: Trend) -> When:
    fill_s = sight.limit_bytes / trend.slope_bytes_s
    if soon_s <= sight.grace_s + min(limits.LEAK_LAST_S, limits.LEAK_LAST_SHARE * fill_s):
        return When.LAST
    if soon_s > sight.night.next_s * limits.LEAK_NIGHT_MARGIN:
        return When.LATER  # there is another night before that
    if sight.night.left_s > 0 and (sight.idle is not False or sight.night.left_s <= limits.LEAK_BUSY_S):
        return When.QUIET
    if sight.idle and share >= sight.warn_share:
        return When.IDLE
    return When.LATER


_MOMENT = {
    When.LATER: "",
    When.IDLE: "it is idle now",
    When.QUIET: "this is the quiet hour, and the next one comes too late",
    When.LAST: "no better moment comes before that",
}


def _leak(when: When, soon_s: float, sight: Sight, trend: Trend) -> Leak:
    why = (
        f"{size(sight.used_bytes)} of {size(sight.limit_bytes)}, growing {rate(trend.slope_bytes_s)}: "
        f"full in about {about(soon_s)}"
    )
    return Leak(
        when, soon_s, trend.slope_bytes_s, sight.limit_bytes, f"{why}; {_MOMENT[when]}" if _MOMENT[when] else why
    )


def rate(bytes_s: float) -> str:
    """As people say it: "3.1M/s", "40M/min", "12M/h"."""
    for unit, seconds in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        if bytes_s * seconds >= 1_000_000 or unit == "h":
            return f"{size(round(bytes_s * seconds))}/{unit}"
    raise AssertionError("the last unit always fits")
