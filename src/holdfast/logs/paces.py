"""Who prints more than it may: agents that are held back, and what is said about it.

Invariants: an agent that is held back keeps its bytes in its pipe and nobody else waits; that it happens is told in its
log, between two whole lines, and to the keeper (facts.json), when it begins, while it lasts and when it is over.
Without anybody to hold back there is no wake-up. Standard library only. Called by logger.py.
"""

from __future__ import annotations

import select

from holdfast.logs import settings
from holdfast.logs.capture import Capture
from holdfast.logs.throttle import CALM_S, Throttle

TELL_EVERY_S = 5.0
UNSAID_MAX = 8  # notices of one agent that wait for the end of a line


class Paces:
    """The throttles of all agents, by name."""

    def __init__(self, home: str, epoll: select.epoll) -> None:
        self._home = home
        self._epoll = epoll
        self._throttles: dict[str, Throttle] = {}
        self._paused: dict[int, float] = {}  # descriptor to the time it is read again
        self._held: set[str] = set()  # agents with an episode that is not over
        self._unsaid: dict[str, list[str]] = {}
        self._look_mono: float | None = None

    def limit(self, agent: str, rate: int, now_mono: float) -> None:
        """`rate`: lines a second, 0: none."""
        held = self._throttles.get(agent)
        if rate and (held is None or held.rate != rate):
            self._throttles[agent] = Throttle(rate, now_mono)
        elif not rate:
            self._throttles.pop(agent, None)

    def allowance(self, agent: str) -> int | None:
        throttle = self._throttles.get(agent)
        return None if throttle is None else throttle.allowance()

    def took(self, agent: str, fd: int, capture: Capture, moved: int, now_mono: float) -> None:
        """A turn of `agent` moved bytes: perhaps its next one has to wait."""
        if agent in self._unsaid:
            self._say_all(agent, capture)
        throttle = self._throttles.get(agent)
        if throttle is None or not moved:
            return
        pause_s = throttle.spend(capture.lines_of_turn(moved), moved, now_mono)
        if not pause_s:
            return
        self._epoll.modify(fd, 0)
        self._paused[fd] = now_mono + pause_s
        self._held.add(agent)
        if self._look_mono is None:
            self._look_mono = now_mono + 1.0
        if throttle.worth_telling and not throttle.told:
            throttle.told = True
            self.say(agent, capture, f"more than {throttle.rate} lines a second: held back, nothing is lost")
            self._tell_keeper()

    def say(self, agent: str, capture: Capture, text: str) -> None:
        """A notice in the agent's log, as soon as its last line is whole."""
        waiting = self._unsaid.setdefault(agent, [])
        if len(waiting) < UNSAID_MAX:
            waiting.append(text)
        self._say_all(agent, capture)

    def _say_all(self, agent: str, capture: Capture) -> None:
        waiting = self._unsaid[agent]
        while waiting and capture.say(waiting[0]):
            waiting.pop(0)
        if not waiting:
            del self._unsaid[agent]

    def next_due_mono(self) -> float | None:
        due = list(self._paused.values())
        if self._look_mono is not None:
            due.append(self._look_mono)
        return min(due, default=None)

    def look(self, captures: dict[str, Capture], now_mono: float) -> None:
        """Go on with those whose pause is over; end the episodes that are."""
        for fd in [fd for fd, due in self._paused.items() if due <= now_mono]:
            del self._paused[fd]
            self._epoll.modify(fd, select.EPOLLIN)
        if self._look_mono is None or now_mono < self._look_mono:
            return
        for agent in list(self._held):
            throttle, capture = self._throttles.get(agent), captures.get(agent)
            was_told, waited_s = (throttle.told, throttle.waited_s) if throttle else (False, 0.0)
            if throttle is None or throttle.is_over(now_mono):
                self._held.discard(agent)
                if was_told and capture is not None:
                    self.say(agent, capture, f"no longer held back; it was, for {waited_s:.0f} s in all")
        self._tell_keeper()
        self._look_mono = now_mono + min(TELL_EVERY_S, CALM_S) if self._held else None

    def closed(self, fd: int) -> None:
        self._paused.pop(fd, None)

    def forget(self, agent: str) -> None:
        self._unsaid.pop(agent, None)
        self._throttles.pop(agent, None)

    def _tell_keeper(self) -> None:
        told = {agent: self._throttles[agent] for agent in self._held if agent in self._throttles}
        facts = {agent: (one.rate, one.waited_s) for agent, one in told.items() if one.told}
        settings.write_facts(self._home, facts)
