"""Which agent is asked when. Pure: a function of the name, the interval and the time.

Agents are spread evenly over the interval by the hash of their name, so a thousand of them never ask in one moment, and
the same agent keeps its place after a restart of the keeper. Due times fall on a grid of PROBE_SLOT_S, so that one
wake-up serves all agents of a slot. Used by the keeper's health loop.
"""

from __future__ import annotations

import heapq
import math
from zlib import crc32

from holdfast import limits


def phase_s(name: str, interval_s: float) -> float:
    """Where in its interval this agent is asked, 0 <= phase < interval, seconds."""
    return crc32(name.encode()) / 2**32 * interval_s


def next_due(name: str, interval_s: float, now: float) -> float:
    """The first time after `now` at which the agent is to be asked; at least half a slot away from `now`."""
    phase = phase_s(name, interval_s)
    turn = math.floor((now - phase) / interval_s) + 1
    while True:
        due = math.ceil((phase + turn * interval_s) / limits.PROBE_SLOT_S) * limits.PROBE_SLOT_S
        if due > now + limits.PROBE_SLOT_S / 2:
            return due
        turn += 1


class Rota:
    """The queue of due times. `due(now)` yields names and books their next turn; a late caller gets each name once."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str, int]] = []
        self._booked: dict[str, tuple[float, int]] = {}  # name -> interval, number of the valid entry
        self._number = 0

    def set(self, name: str, interval_s: float, now: float) -> None:
        """Ask this agent every `interval_s` from now on. No effect when that is already so."""
        known = self._booked.get(name)
        if known is None or known[0] != interval_s:
            self._book(name, interval_s, now)

    def drop(self, name: str) -> None:
        self._booked.pop(name, None)

    def due(self, now: float) -> list[str]:
        names: list[str] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, name, number = heapq.heappop(heap)
            known = self._booked.get(name)
            if known is not None and known[1] == number:
                names.append(name)
                self._book(name, known[0], now)
        return names

    def next(self) -> float | None:
        """When `due` has something to say, or None."""
        heap = self._heap
        while heap:
            known = self._booked.get(heap[0][1])
            if known is not None and known[1] == heap[0][2]:
                return heap[0][0]
            heapq.heappop(heap)
        return None

    def _book(self, name: str, interval_s: float, now: float) -> None:
        self._number += 1
        self._booked[name] = (interval_s, self._number)
        heapq.heappush(self._heap, (next_due(name, interval_s, now), name, self._number))
