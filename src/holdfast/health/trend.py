"""How memory moved and where it goes: a bounded curve for each agent, and a slope that noise cannot fake. Pure.

Invariant: a curve never grows beyond its bounds, whatever the time does; a slope is only told when it holds through
most of its window and is larger than what the readings scatter, so a sawtooth of garbage collection has none.
Called by keeper.resources, and by the post-mortem through `Resources.curve`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from holdfast import limits

_KIB = 1024


class Point(NamedTuple):
    """One reading: seconds of the monotonic clock, bytes."""

    mono: float
    used_bytes: int


class Trend(NamedTuple):
    """A confirmed growth, bytes each second (never negative), seen over `span_s`."""

    slope_bytes_s: float
    span_s: float


class _Ring:
    """The newest `size` points in 8 bytes each: tenths of a second, KiB."""

    __slots__ = ("_kib", "_next", "_size", "_tenths")

    def __init__(self, size: int) -> None:
        self._size = size
        self._next = 0
        self._tenths = array("I")
        self._kib = array("I")

    def add(self, mono: float, used_bytes: int) -> None:
        tenths, kib = int(mono * 10) & 0xFFFFFFFF, min(used_bytes // _KIB, 0xFFFFFFFF)
        if len(self._kib) < self._size:
            self._tenths.append(tenths)
            self._kib.append(kib)
            return
        self._tenths[self._next], self._kib[self._next] = tenths, kib
        self._next = (self._next + 1) % self._size

    def rise_bytes(self) -> int:
        """From the lowest to the newest."""
        return (self._kib[self._next - 1] - min(self._kib)) * _KIB if self._kib else 0

    def points(self) -> list[Point]:
        """Oldest first."""
        cut, tenths, kib = self._next, self._tenths, self._kib
        pairs = zip(tenths[cut:] + tenths[:cut], kib[cut:] + kib[:cut], strict=True)
        return [Point(tenth / 10, value * _KIB) for tenth, value in pairs]


class Curve:
    """The last hour finely, the last day coarsely (the peak of each step). `add` may be called as often as wished."""

    __slots__ = ("_coarse", "_fine", "_fine_mono", "_newest", "_peak", "_step_mono")

    def __init__(self) -> None:
        self._fine = _Ring(limits.CURVE_FINE_POINTS)
        self._coarse = _Ring(limits.CURVE_COARSE_POINTS)
        self._fine_mono = float("-inf")
        self._step_mono = float("-inf")
        self._peak = 0
        self._newest: Point | None = None

    def add(self, mono: float, used_bytes: int) -> None:
        self._newest = Point(mono, used_bytes)
        self._peak = max(self._peak, used_bytes)
        if mono - self._step_mono >= limits.CURVE_COARSE_S:
            if self._step_mono > float("-inf"):
                self._coarse.add(mono, self._peak)
            self._step_mono, self._peak = mono, used_bytes
        if mono - self._fine_mono >= limits.CURVE_FINE_S * 0.9:  # a timer may ring a little early
            self._fine.add(mono, used_bytes)
            self._fine_mono = mono

    def last(self, mono: float, used_bytes: int) -> None:
        """The reading before an end: kept even when the last one is recent."""
        self._fine_mono = float("-inf")
        self.add(mono, used_bytes)

    def may_grow(self) -> bool:
        """Whether `growth` could find anything: asked often, so it has to be cheap."""
        return self._fine.rise_bytes() >= limits.TREND_GROWTH_MIN_BYTES

    def points(self) -> list[Point]:
        """Oldest first: coarse ones as far back as the fine ones do not reach; the newest reading ends it."""
        fine = self._fine.points()
        first = fine[0].mono if fine else float("inf")
        found = [point for point in self._coarse.points() if point.mono < first] + fine
        if self._newest is not None and self._newest.mono > self._fine_mono:
            found.append(self._newest)
        return found


def growth(points: list[Point], began_mono: float, now: float) -> Trend | None:
    """The confirmed growth of an instance that began at `began_mono`; None when there is none to speak of.

    Theil-Sen (the median of all pairwise slopes) over the lowest reading of each slice of the window. Theil 1950,
    Sen 1968. Nothing is told of a level that was reached before and left again: that is how a sawtooth looks.
    """
    settled = began_mono + limits.TREND_SETTLE_S
    own = [point for point in points if point.mono >= settled and point.mono <= now]
    window = [point for point in own if point.mono >= now - limits.TREND_WINDOW_S]
    if len(window) < limits.TREND_POINTS_MIN or window[-1].mono - window[0].mono < limits.TREND_SPAN_MIN_S:
        return None
    floor = _floor(window)
    span = floor[-1].mono - floor[0].mono
    slopes = sorted(
        (later.used_bytes - earlier.used_bytes) / (later.mono - earlier.mono)
        for number, earlier in enumerate(floor)
        for later in floor[number + 1 :]
    )
    slope = slopes[len(slopes) // 2]
    rising = sum(1 for each in slopes if each > 0) / len(slopes)
    if slope <= 0 or rising < limits.TREND_RISING_SHARE or slope * span < limits.TREND_GROWTH_MIN_BYTES:
        return None
    if slope * span < limits.TREND_GROWTH_OVER_SCATTER * _scatter(floor, slope):
        return None
    before = [point.used_bytes for point in own if point.mono < window[0].mono]
    if before and max(before) >= window[-1].used_bytes:
        return None
    return Trend(slope, span)


def rush(recent: Sequence[Point], earlier: Iterable[Point], now: float) -> Trend | None:
    """A growth too quick for a confirmed trend: each of the last readings above the one before, for LEAK_RUSH_SPAN_S.

    `earlier`: the curve of the same instance. A level it has reached before, and left again, is no leak.
    """
    window = [point for point in recent if now - limits.LEAK_RUSH_S <= point.mono <= now]
    if len(window) < limits.LEAK_RUSH_POINTS_MIN or window[-1].mono - window[0].mono < limits.LEAK_RUSH_SPAN_S:
        return None
    slopes = sorted(
        (later.used_bytes - one.used_bytes) / (later.mono - one.mono)
        for number, one in enumerate(window)
        for later in window[number + 1 :]
        if later.mono > one.mono
    )
    slope, span = slopes[len(slopes) // 2], window[-1].mono - window[0].mono
    rising = sum(1 for each in slopes if each > 0) / len(slopes)
    if slope <= 0 or rising < limits.TREND_RISING_SHARE or slope * span < limits.TREND_GROWTH_MIN_BYTES:
        return None
    if any(point.mono < window[0].mono and point.used_bytes >= window[-1].used_bytes for point in earlier):
        return None
    return Trend(slope, span)


def _floor(window: list[Point]) -> list[Point]:
    """The lowest reading of each slice: what a collection cannot take away."""
    size = max(1, len(window) // limits.TREND_SLICES)
    return [min(window[at : at + size], key=lambda point: point.used_bytes) for at in range(0, len(window), size)]


def _scatter(floor: list[Point], slope: float) -> float:
    """Median distance from the line, step by step, in bytes."""
    steps = sorted(abs(b.used_bytes - a.used_bytes - slope * (b.mono - a.mono)) for a, b in pairwise(floor))
    return steps[len(steps) // 2] if steps else 0.0


def limit_in_s(used_bytes: int, limit_bytes: int | None, trend: Trend | None) -> float | None:
    """Seconds until the limit at the present growth; None without one, or when it is too far off to mean anything."""
    if trend is None or limit_bytes is None:
        return None
    left_s = max(0, limit_bytes - used_bytes) / trend.slope_bytes_s
    return left_s if left_s <= limits.TREND_HORIZON_S else None
