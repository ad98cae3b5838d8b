"""Injected time. Decisions take `now` as an argument; only shells hold a Clock.

Wall times are seconds since the epoch (`*_at`), monotonic times are seconds of CLOCK_BOOTTIME-like
monotonic clock (`*_mono`). Durations are never computed from wall times, so clock jumps cannot shorten or
lengthen a deadline.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

SHIFT_ENV = "HOLDFAST_CLOCK_FILE"  # set by a drill for its throw-away home only


class Clock(Protocol):
    """Where a shell gets its time from."""

    def now_at(self) -> float:
        """Wall clock, seconds since the epoch."""

    def now_mono(self) -> float:
        """Monotonic clock, seconds; comparable only within one boot of the machine."""


class SystemClock:
    """The real clock."""

    def now_at(self) -> float:
        return time.time()

    def now_mono(self) -> float:
        return time.monotonic()


class ShiftedClock(SystemClock):
    """The real clock with the wall time moved by the seconds that a file holds: how a drill makes it jump.

    A missing or unreadable file moves nothing. The file is looked at each time, so a jump is seen at once.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def now_at(self) -> float:
        try:
            with open(self._path) as file:
                return super().now_at() + float(file.read(64))
        except (OSError, ValueError):
            return super().now_at()


def system_clock() -> SystemClock:
    """The clock of a Holdfast process: the real one, except in a drill."""
    path = os.environ.get(SHIFT_ENV)
    return ShiftedClock(path) if path else SystemClock()
