"""Points in time as people write them: `10m`, `10 min ago`, `03:00`, `yesterday 14:00`, `2026-11-21T14:00Z`.

Invariant: pure and total: any text gives seconds since 1970 or a ValueError whose text says what was expected; a time
without a date is the last one that was. Called by everything with --since and --until.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo

FORMS = "10m, 1h30m, 10 min ago, 03:00, yesterday 14:00, 2026-11-21, 2026-11-21T14:00:00Z or @1764000000"
# Seconds of each unit by the ways to write it, the largest first: `1h30m` and `1 hour 30 minutes`, never `1m2h`.
_UNITS_S = {
    "weeks?|w": 604_800.0,
    "days?|d": 86_400.0,
    "hours?|hrs?|h": 3600.0,
    "minutes?|mins?|m": 60.0,
    "seconds?|secs?|s": 1.0,
    "milliseconds?|ms": 0.001,
}
_PART = r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?|(?<![^ ])an?(?= ))"  # "an hour ago"
_AGO = re.compile("".join(rf"(?:({_PART}) ?(?:{unit})(?![a-z])(?: (?!ago))?)?" for unit in _UNITS_S) + r"(?: ?ago)?")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,9})?))?")
_SECONDS = re.compile(r"[0-9]{1,8}(?:\.[0-9]{1,9})?")
_EPOCH = re.compile(r"@(-?[0-9]{1,12}(?:\.[0-9]{1,9})?)")
_DAYS = {"today": 0, "yesterday": 1}


def parse(text: str, now_at: float, zone: tzinfo | None = None) -> float:
    """Seconds since 1970. `zone`: of times that name none; None: the machine's. A bare number is seconds ago."""
    asked = " ".join(text.strip().lower().split())
    try:
        found = _parse(asked, now_at, zone)
    except (OverflowError, OSError):
        found = None
    except ValueError as error:
        raise ValueError(f"{_shown(text)}: {error}") from error
    if found is None:
        raise ValueError(f"{_shown(text)} is no time; expected {FORMS}")
    return found


def _parse(asked: str, now_at: float, zone: tzinfo | None) -> float | None:
    if asked == "now":
        return now_at
    if match := _EPOCH.fullmatch(asked):
        return float(match[1])
    if _SECONDS.fullmatch(asked):
        return now_at - float(asked)
    if (match := _AGO.fullmatch(asked)) and any(match.groups()):
        spans = zip(match.groups(), _UNITS_S.values(), strict=True)
        return now_at - sum(
            (1.0 if count in ("a", "an") else float(count)) * unit_s for count, unit_s in spans if count
        )
    now = datetime.fromtimestamp(now_at, zone)
    day, _, clock = asked.partition(" ")
    if day in _DAYS:
        return _on_clock(now - timedelta(days=_DAYS[day]), clock.removeprefix("at ") or "00:00")
    if _CLOCK.fullmatch(asked):
        found = _on_clock(now, asked)
        return found if found is None or found <= now_at else _on_clock(now - timedelta(days=1), asked)
    return _iso(asked, zone)


def _on_clock(day: datetime, clock: str) -> float | None:
    """That time of day on the day of `day`, in its zone."""
    match = _CLOCK.fullmatch(clock)
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), float(match[3] or 0)
    if hour > 23 or minute > 59 or second >= 60:
        raise ValueError("a day ends at 23:59:59")
    at = day.replace(hour=hour, minute=minute, second=int(second), microsecond=0, fold=0)
    return at.timestamp() + second % 1


def _iso(asked: str, zone: tzinfo | None) -> float | None:
    if not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", asked):
        return None
    at = datetime.fromisoformat(asked.upper())
    return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp()


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else text[:57] + "...")
