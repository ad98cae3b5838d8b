"""What stands in the control files of each agent's group, looked at from outside all the time; cgroup v2 only.

Whom the files name as held, protected, frozen; and what is left of that in the end. Runs beside the scenario.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

EVERY_S = 0.2
MB = 1024 * 1024
_FILES = ("memory.low", "memory.min", "memory.high", "memory.max", "memory.current")


class Controls(threading.Thread):
    """`node`: the group that is the node. Groups of agents lie two levels below it and are called AGENT.NUMBER."""

    def __init__(self, node: str) -> None:
        super().__init__(daemon=True)
        self._node = Path(node)
        self._over = threading.Event()
        self._frozen: set[str] = set()
        self._held: dict[str, list[float]] = {}  # MB: least and most that memory.high was set to
        self._backstop: set[str] = set()  # who had memory.max above memory.high
        self._worst: dict[str, dict[str, Any]] = {}  # of the moment at which the node was fullest
        self._most = 0

    def run(self) -> None:
        while not self._over.wait(EVERY_S):
            self._look()

    def end(self) -> dict[str, Any]:
        """Sizes in MB; "left": what stands in the files now, when all is over."""
        self._over.set()
        self.join()
        return {
            "high": dict(sorted(self._held.items())),
            "backstop": sorted(self._backstop),
            "frozen": sorted(self._frozen),
            "fullest": self._worst,
            "granted": max((_number(path) for path in self._node.glob("holdfast-*/memory.low")), default=0) // MB,
            "left": self._all(),
        }

    def _look(self) -> None:
        found = self._all()
        for name, each in found.items():
            high, most = each["high"], each["max"]
            if each["frozen"]:
                self._frozen.add(name)
            if high != "max":
                span = self._held.setdefault(name, [high, high])
                span[:] = min(span[0], high), max(span[1], high)
                if most != "max" and most > high:
                    self._backstop.add(name)
        full = _number(self._node / "memory.current")
        if full > self._most:
            self._most, self._worst = full, found

    def _all(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self._node.glob("holdfast-*/*.*/memory.high")):
            group = path.parent
            each = {file.partition(".")[2]: _mb(group / file) for file in _FILES}
            each["frozen"] = "frozen 1" in _text(group / "cgroup.events")
            found[group.name.partition(".")[0]] = each
        return found


def _mb(path: Path) -> float | str:
    text = _text(path).strip()
    return round(int(text) / MB, 1) if text.isdigit() else text


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
