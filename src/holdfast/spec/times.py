"""Times of day as people write them: `04:00`, `04:00 Europe/Berlin`, `Sun 03:00 UTC`, `Mon-Fri,Sun 04:30`.

Invariant: `parse` is total: any text gives a PlannedTime or a ValueError whose text is the suggestion ("" without
one), and what it gives has a zone that exists. Called by `blocks.py`; `machine_zone` is the one look at the machine.
"""

from __future__ import annotations

import os
import re
import zoneinfo
from collections.abc import Sequence
from functools import lru_cache

from holdfast.spec.model import PlannedTime
from holdfast.spec.problems import nearest

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = re.compile(r"(?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9])")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_ZONE_FILES = "/zoneinfo/"


def parse(text: str, own_zone: str) -> PlannedTime:
    """`[DAYS ]HH:MM[ ZONE]`; `own_zone` where none is written. ValueError carries a suggestion."""
    words = text.split()
    at = next((place for place, word in enumerate(words) if _CLOCK.fullmatch(word)), None)
    if at is None:
        raise ValueError(_meant_clock(words))
    if len(words) - at > 2 or at > 1:
        raise ValueError("")
    clock = _CLOCK.fullmatch(words[at])
    assert clock is not None
    try:
        days = parse_days(words[0]) if at else ()
    except ValueError as error:
        raise ValueError(" ".join((str(error), *words[1:])) if str(error) else "") from None
    zone = words[at + 1] if len(words) > at + 1 else own_zone
    if not is_zone(zone):
        close = nearest(zone, zoneinfo.available_timezones())
        raise ValueError(" ".join((*words[: at + 1], close)) if close else "")
    return PlannedTime(hour=int(clock["hour"]), minute=int(clock["minute"]), zone=zone, days=days)


def parse_days(text: str) -> tuple[int, ...]:
    """`Sun`, `Mon-Fri`, `Sat-Mon`, `Mon,Wed`: 0 is Monday. ValueError carries a suggestion."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low, high = _day(first), _day(last) if dash else _day(first)
        found.update((low + step) % 7 for step in range((high - low) % 7 + 1))
    return tuple(sorted(found))


def _day(word: str) -> int:
    lowered = word.lower()
    for number, (short, full) in enumerate(zip(DAYS, _FULL, strict=True)):
        if lowered in (short.lower(), full):
            return number
    raise ValueError(nearest(word, DAYS) or nearest(word, _FULL).capitalize())


def _meant_clock(words: Sequence[str]) -> str:
    """`4`, `4am`, `4.30`, `0430` as a clock would show them."""
    for word in words:
        match = re.fullmatch(r"([0-9]{1,2})(?:[.h]?([0-9]{2}))?(am|pm|h)?", word.lower())
        if match is None:
            continue
        hour = int(match[1]) % 12 + (12 if match[3] == "pm" else 0) if match[3] in ("am", "pm") else int(match[1])
        if hour < 24 and int(match[2] or 0) < 60:
            return f"{hour:02}:{match[2] or '00'}"
    return ""


def show(time: PlannedTime) -> str:
    """The text that `parse` reads back as the same, the zone always written."""
    clock = f"{time.hour:02}:{time.minute:02} {time.zone}"
    return f"{_show_days(time.days)} {clock}" if time.days else clock


def _show_days(days: Sequence[int]) -> str:
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    shown = [DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}" for run in runs]
    return ",".join(shown)


@lru_cache(maxsize=256)
def is_zone(name: str) -> bool:
    """Whether the IANA data base knows `name`."""
    if not _ZONE.fullmatch(name):
        return False
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def machine_zone() -> str:
    """The machine's time zone by name: TZ, else /etc/localtime, else /etc/timezone; UTC when none of them names one."""
    named = [os.environ.get("TZ", "").lstrip(":")]
    try:
        named.append(os.path.realpath("/etc/localtime").partition(_ZONE_FILES)[2])
        with open("/etc/timezone", encoding="ascii") as file:
            named.append(file.read(100).strip())
    except (OSError, ValueError):
        pass
    return next((name for name in named if name and is_zone(name)), "UTC")
