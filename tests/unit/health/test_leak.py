"""When an agent that leaks is restarted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast.health.leak import Night, Sight, When, judge, night, rate
from holdfast.health.trend import Point, Trend, rush

MB = 1_000_000
DAY = Night(left_s=0.0, next_s=8 * 3600.0)
NIGHT = Night(left_s=7000.0, next_s=24 * 3600.0)


def sight(used: int, slope: float | None, **more: object) -> Sight:
    trend = None if slope is None else Trend(slope, 3600.0)
    known: dict[str, object] = {
        "used_bytes": used * MB,
        "limit_bytes": 1000 * MB,
        "trend": trend,
        "rush": None,
        "idle": None,
        "grace_s": 10.0,
        "warn_share": 0.7,
        "alarm_share": 0.8,
        "night": DAY,
    }
    return Sight(**(known | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "seen", "when"),
    [
        ("no growth is confirmed", sight(990, None), None),
        ("far from the limit", sight(200, 10 * MB / 3600), None),
        ("hours away, by day", sight(700, 30 * MB / 3600), When.LATER),
        ("the same, in the night, and the next night is too late", sight(700, 15 * MB / 3600, night=NIGHT), When.QUIET),
        ("in the night, and the next is early enough", sight(600, 10 * MB / 3600, night=NIGHT), When.LATER),
        ("in the night, but busy", sight(700, 15 * MB / 3600, night=NIGHT, idle=False), When.LATER),
        (
            "busy to the end of the night",
            sight(700, 15 * MB / 3600, night=NIGHT._replace(left_s=600.0), idle=False),
            When.QUIET,
        ),
        ("no night comes in time, and it is idle", sight(750, 100 * MB / 3600, idle=True), When.IDLE),
        ("no night comes in time, and it does not say", sight(750, 100 * MB / 3600), When.LATER),
        ("idle, but there is much room", sight(400, 100 * MB / 3600, idle=True), When.LATER),
        ("ten minutes are left", sight(985, 100 * MB / 3600, idle=False), When.LAST),
        ("a fill takes a quarter of an hour", sight(850, 1 * MB), When.LATER),
        ("a fill takes a quarter of an hour, and a tenth of it is left", sight(905, 1 * MB), When.LAST),
        ("too quick for a trend", sight(850, None, rush=Trend(10 * MB, 20.0)), When.LAST),
        ("quick, but below the alarm", sight(790, None, rush=Trend(10 * MB, 20.0)), None),
        ("quick, but time for more readings", sight(850, None, rush=Trend(2 * MB, 20.0)), None),
        ("it was restarted for this a moment ago", sight(990, 1 * MB, since_s=300.0), None),
    ],
)
def test_the_moment_that_disturbs_least_is_chosen(name: str, seen: Sight, when: When | None) -> None:
    found = judge(seen)
    assert (None if found is None else found.when) is when, name


def test_the_reason_tells_the_numbers() -> None:
    found = judge(sight(905, 1 * MB))
    assert found is not None
    assert found.why == "905 MB of 1 GB, growing 1 MB/s: full in about 2 min; no better moment comes before that"
    assert found.soon_s == pytest.approx(95)


@pytest.mark.parametrize(
    ("clock", "left_h", "next_h"), [((2, 0), 0, 1), ((3, 0), 2, 24), ((4, 30), 0.5, 22.5), ((5, 0), 0, 22)]
)
def test_the_quiet_hour_is_from_three_to_five_by_the_clock_on_the_wall(
    clock: tuple[int, int], left_h: float, next_h: float
) -> None:
    at = datetime(2026, 11, 21, *clock, tzinfo=UTC).timestamp()
    assert night(at, UTC) == Night(left_h * 3600, next_h * 3600)


def test_rates_are_said_as_people_say_them() -> None:
    assert [rate(each) for each in (3_100_000, 50_000, 3_000)] == ["3.1 MB/s", "3 MB/min", "10.8 MB/h"]


def drawn(*mib: int) -> list[Point]:
    return [Point(100.0 + 2 * n, each * MB) for n, each in enumerate(mib)]


@pytest.mark.parametrize(
    ("name", "recent", "slope"),
    [
        ("steady", drawn(100, 110, 120, 130, 140, 150, 160), 5 * MB),
        ("too few readings", drawn(100, 110, 120, 130), None),
        ("flat", drawn(100, 100, 100, 100, 100, 100, 100), None),
        ("one step", drawn(100, 100, 100, 160, 160, 160, 160), None),
        ("up and down", drawn(100, 130, 100, 130, 100, 130, 100), None),
        ("a breath", drawn(100, 100, 101, 101, 102, 102, 103), None),
    ],
)
def test_a_quick_growth_needs_every_reading_to_rise(name: str, recent: list[Point], slope: float | None) -> None:
    found = rush(recent, [], recent[-1].mono)
    assert (None if found is None else found.slope_bytes_s) == slope, name


def test_a_level_it_has_reached_before_and_left_again_is_no_leak() -> None:
    recent = drawn(100, 110, 120, 130, 140, 150, 160)
    assert rush(recent, [Point(50.0, 170 * MB)], recent[-1].mono) is None
    assert rush(recent, [Point(50.0, 150 * MB)], recent[-1].mono) is not None
