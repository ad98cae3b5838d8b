"""Points in time as people write them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from holdfast import when

NOW = datetime(2026, 11, 21, 12, 30, 15, tzinfo=UTC).timestamp()


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("10m", NOW - 600),
        ("1h30m", NOW - 5400),
        ("2d", NOW - 172_800),
        ("1w", NOW - 604_800),
        ("1.5h ago", NOW - 5400),
        ("10 min ago", NOW - 600),
        ("10 minutes ago", NOW - 600),
        ("10min", NOW - 600),
        ("1 hour 30 minutes ago", NOW - 5400),
        ("2 hrs ago", NOW - 7200),
        ("An hour ago", NOW - 3600),
        ("a week ago", NOW - 604_800),
        ("3 days", NOW - 259_200),
        ("45 secs ago", NOW - 45),
        ("250ms", NOW - 0.25),
        ("90", NOW - 90),
        ("@1764000000.5", 1_764_000_000.5),
        ("@-62072524800.000000", -62_072_524_800.0),  # what the command line makes of the year 3
        ("@253402300799.000000", 253_402_300_799.0),
        ("03:00", at("2026-11-21T03:00")),
        ("3:00:30", at("2026-11-21T03:00:30")),
        ("12:30:15", NOW),
        ("14:00", at("2026-11-20T14:00")),
        ("today", at("2026-11-21T00:00")),
        ("today 13:00", at("2026-11-21T13:00")),
        ("Yesterday  14:00", at("2026-11-20T14:00")),
        ("yesterday at 14:00", at("2026-11-20T14:00")),
        ("2026-11-20", at("2026-11-20T00:00")),
        ("2026-11-20 14:00", at("2026-11-20T14:00")),
        ("2026-11-20T14:00:01.5Z", at("2026-11-20T14:00:01.5")),
        ("2026-11-20T14:00+02:00", at("2026-11-20T12:00")),
    ],
)
def test_what_people_write_is_understood(text: str, expected: float) -> None:
    assert when.parse(text, NOW, UTC) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "25:00",
        "12:60",
        "10 parsecs",
        "2026-13-01",
        "2026-02-30",
        "m",
        "-5m",
        "yesterday noon",
        "1m2h",
        "ago",
        "a",
        "an ago",
    ],
)
def test_everything_else_is_refused_with_words(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        when.parse(text, NOW, UTC)
    assert str(raised.value).startswith(ascii(text))


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2026-03-29T10:00", "02:30", "2026-03-29T01:30"),  # that hour did not exist: as the clock before would say
        ("2026-10-25T10:00", "02:30", "2026-10-25T00:30"),  # that hour came twice: the first one
        ("2026-03-29T10:00", "yesterday 02:30", "2026-03-28T01:30"),
    ],
)
def test_the_days_when_clocks_change_are_understood(now: str, text: str, expected: str) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert when.parse(text, at(now), berlin) == at(expected)


def test_the_machines_zone_is_taken_where_none_is_named() -> None:
    local = datetime.fromtimestamp(NOW).replace(hour=3, minute=0, second=0)
    expected = local.timestamp() if local.timestamp() <= NOW else local.timestamp() - 86_400
    assert when.parse("03:00", NOW) == expected
