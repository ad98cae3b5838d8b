"""Time that stands still until a test moves it."""

from __future__ import annotations


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
