"""How many processes each agent has, looked at all the time from outside: who went, whole or not, and who came back.

Holdfast's own ledger says whom it chose and when; what became of them is seen here. Runs beside the scenario in its
first process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

EVERY_S = 0.05


class Watch(threading.Thread):
    """`counts()`: processes by agent."""

    def __init__(self, names: list[str], counts: Callable[[], dict[str, list[int]]]) -> None:
        super().__init__(daemon=True)
        self._names = names
        self._counts = counts
        self._over = threading.Event()
        self.seen: dict[str, list[tuple[float, int]]] = {name: [] for name in names}  # changes only

    def run(self) -> None:
        while not self._over.wait(EVERY_S):
            now, found = time.monotonic(), self._counts()
            for name in self._names:
                count, line = len(found.get(name, [])), self.seen[name]
                if not line or line[-1][1] != count:
                    line.append((now, count))

    def end(self) -> None:
        self._over.set()
        self.join()

    def most(self, name: str) -> int:
        return max((count for _, count in self.seen[name]), default=0)

    # --- what was seen -------------------------------------------------------------------------------------------
    def count_at(self, name: str, mono: float) -> int:
        return next((count for at, count in reversed(self.seen[name]) if at <= mono), 0)

    def gone(self, name: str, since_mono: float) -> float | None:
        """When it had no process any more, at or after a moment; None: never."""
        if self.count_at(name, since_mono) == 0:
            return since_mono
        return next((at for at, count in self.seen[name] if at >= since_mono and count == 0), None)

    def broken(self, name: str, since_mono: float) -> float | None:
        """When it had fewer processes than at a moment, first."""
        whole = self.count_at(name, since_mono)
        return next((at for at, count in self.seen[name] if at >= since_mono and count < whole), None)

    def back(self, name: str, since_mono: float) -> float | None:
        """When it had a process again after a moment at which it had none."""
        return next((at for at, count in self.seen[name] if at > since_mono and count), None)
