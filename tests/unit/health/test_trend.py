"""Growth that is told, and growth that is only noise."""

from __future__ import annotations

import random

import pytest

from holdfast import limits
from holdfast.health.trend import Curve, Point, Trend, growth, limit_in_s

MIB = 1024 * 1024
START = 1_000.0


def drawn(minutes: float, value_mib, step_s: float = 15.0) -> list[Point]:
    count = int(minutes * 60 / step_s)
    return [Point(START + n * step_s, int(value_mib(n * step_s / 60) * MIB)) for n in range(count)]


def judged(points: list[Point]) -> Trend | None:
    return growth(points, START, points[-1].mono)


@pytest.mark.parametrize("rate", [0.5, 4.1, 100.0])
def test_a_steady_leak_is_told_with_its_rate(rate: float) -> None:
    trend = judged(drawn(40, lambda minute: 100 + rate * minute))
    assert trend is not None
    assert trend.slope_bytes_s * 60 / MIB == pytest.approx(rate, rel=0.02)


def test_a_leak_below_noise_is_found_when_it_is_larger_than_the_noise() -> None:
    roll = random.Random(7)
    trend = judged(drawn(60, lambda minute: 100 + 2 * minute + roll.uniform(0, 8)))
    assert trend is not None
    assert trend.slope_bytes_s * 60 / MIB == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flat", lambda minute: 200.0),
        ("falling", lambda minute: 400 - 2 * minute),
        ("sawtooth of 2 min", lambda minute: 100 + 50 * (minute % 2)),
        ("sawtooth of 9 min", lambda minute: 100 + 20 * (minute % 9)),
        ("sawtooth of 25 min", lambda minute: 100 + 8 * (minute % 25)),
        ("one step", lambda minute: 100 if minute < 30 else 180),
        ("start only", lambda minute: min(200, 100 + 60 * minute)),
    ],
)
def test_no_projection_comes_out_of(name: str, value) -> None:
    assert judged(drawn(60, value)) is None, name


def test_a_level_that_was_reached_before_and_left_again_is_a_slow_sawtooth() -> None:
    points = drawn(60 * 8, lambda minute: 100 + (minute % 150))
    now = START + 60 * (150 + 149)  # shortly before the second fall
    assert growth([point for point in points if point.mono <= now], START, now) is None


def test_too_short_a_look_says_nothing() -> None:
    assert judged(drawn(5, lambda minute: 100 + 50 * minute)) is None


@pytest.mark.parametrize("seed", range(30))
def test_noise_of_any_shape_has_no_slope(seed: int) -> None:
    roll = random.Random(seed)
    level = [150.0]
    for _ in range(400):
        level.append(150 + 0.5 * (level[-1] - 150) + roll.gauss(0, 10))
    points = [Point(START + n * 15, int(value * MIB)) for n, value in enumerate(level)]
    assert growth(points[-240:], START, points[-1].mono) is None, f"seed {seed}"


def test_the_time_to_the_limit_follows_from_the_slope() -> None:
    assert limit_in_s(400 * MIB, 500 * MIB, Trend(MIB / 60, 600)) == pytest.approx(6000)
    assert limit_in_s(600 * MIB, 500 * MIB, Trend(MIB / 60, 600)) == 0
    assert limit_in_s(400 * MIB, None, Trend(MIB / 60, 600)) is None
    assert limit_in_s(400 * MIB, 500 * MIB, None) is None
    assert limit_in_s(0, 10**15, Trend(1.0, 600)) is None


def test_a_curve_is_bounded_keeps_its_peaks_and_is_in_order() -> None:
    curve = Curve()
    for n in range(2 * 86_400 // 5):
        curve.add(START + n * 5, (900 if n == 20_000 else 100) * MIB)
    points = curve.points()
    assert len(points) <= limits.CURVE_FINE_POINTS + limits.CURVE_COARSE_POINTS + 1
    assert points == sorted(points)
    assert max(point.used_bytes for point in points) == 900 * MIB
    assert points[-1].mono - points[0].mono == pytest.approx(86_400, rel=0.05)


def test_the_last_reading_before_an_end_is_kept() -> None:
    curve = Curve()
    curve.add(START, MIB)
    curve.last(START + 1, 2 * MIB)
    assert curve.points()[-1] == Point(START + 1, 2 * MIB)
    assert curve.may_grow() is False
