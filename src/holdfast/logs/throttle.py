"""How fast one agent may print: a bucket of lines. Pure.

Invariants: what is over the bound waits in the agent's pipe, nothing is thrown away; no pause is longer than
PAUSE_MAX_S, so an agent that prints too much becomes slower and never stands still; a burst of a few seconds' worth
passes without a pause. Called by logger.py.
"""

from __future__ import annotations

BURST_S = 5.0  # start-up banners and stack traces of a whole fleet pass untouched
PAUSE_MIN_S = 0.005  # the pipe holds more than comes in this time
PAUSE_MAX_S = 0.2
TURN_MIN_BYTES = 4096
TURN_SHARE_S = 0.02  # a turn of a throttled agent is this much of its rate
TOLD_AFTER_S = 1.0  # held back for this long in all before anybody is told
CALM_S = 10.0  # not held back for this long: over


class Throttle:
    """The bucket of one agent. `rate`: lines a second, above 0. Times are monotonic seconds."""

    __slots__ = ("_full_mono", "_line_bytes", "_tokens", "last_mono", "rate", "told", "waited_s")

    def __init__(self, rate: int, now_mono: float) -> None:
        self.rate = rate
        self.told = False  # it was said that this agent is throttled
        self.waited_s = 0.0  # in the present episode
        self.last_mono: float | None = None  # the last pause of the present episode
        self._tokens = rate * BURST_S
        self._full_mono = now_mono
        self._line_bytes = 128.0

    def spend(self, lines: int, size: int, now_mono: float) -> float:
        """`lines` of `size` bytes in all were taken. Returns for how many seconds nothing more may be taken."""
        self._tokens = min(self.rate * BURST_S, self._tokens + (now_mono - self._full_mono) * self.rate)
        self._full_mono = now_mono
        if lines:
            self._line_bytes = size / lines
        self._tokens = max(self._tokens - lines, -self.rate * PAUSE_MAX_S)
        if self._tokens >= 0:
            return 0.0
        pause_s = max(PAUSE_MIN_S, -self._tokens / self.rate)
        self.waited_s += pause_s
        self.last_mono = now_mono
        return pause_s

    def allowance(self) -> int | None:
        """Bytes of the next turn; None: no bound."""
        if self._tokens >= self.rate:
            return None
        return max(TURN_MIN_BYTES, int(self.rate * TURN_SHARE_S * self._line_bytes))

    @property
    def worth_telling(self) -> bool:
        return self.last_mono is not None and self.waited_s >= TOLD_AFTER_S

    def is_over(self, now_mono: float) -> bool:
        """Whether an episode came to its end; then the next one begins from nothing."""
        if self.last_mono is None or now_mono - self.last_mono < CALM_S:
            return False
        self.last_mono, self.waited_s, self.told = None, 0.0, False
        return True
