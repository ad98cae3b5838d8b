"""Injected time. Decisions take `now` as an argument; only shells hold a Clock.

Wall times are seconds since the epoch (`*_at`), monotonic times are seconds of CLOCK_BOOTTIME-like
monotonic clock (`*_mono`). Durations are never computed from wall times, so clock jumps cannot shorten or
lengthen a deadline.
"""

from __future__ import annotations

import time
from typing import Protocol


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


class ManualClock:
    """A clock that a test moves by hand."""

    def __init__(self, at: float = 1_700_000_000.0, mono: float = 1000.0) -> None:
        self.at = at
        self.mono = mono

    def now_at(self) -> float:
        return self.at

    def now_mono(self) -> float:
        return self.mono

    def advance(self, seconds: float) -> None:
        self.at += seconds
        self.mono += seconds
