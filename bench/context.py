"""What every suite is given, and what it returns.

A suite is a module in `suites/` with NAME, TITLE, `run(context) -> dict` (plain JSON: figures and raw samples) and
`report(result) -> Section` (pure: tables and goals from that JSON, so that RESULTS.md can be written again any time).
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import peers
from bench.install import Unavailable
from bench.peers.base import Peer

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the column "goal / reached?". `reached` None: could not be judged in this run."""

    id: str
    text: str
    figure: str
    reached: bool | None


@dataclass(frozen=True, slots=True)
class Section:
    """What a suite puts into RESULTS.md."""

    lines: list[str]
    goals: list[Goal]


@dataclass
class Context:
    """Where to work, with whom, and how long."""

    place: Path
    workload: tuple[str, ...]
    quick: bool
    rounds: int | None = None  # instead of a suite's own number
    available: dict[str, str] = field(default_factory=dict)  # name -> version
    skipped: dict[str, str] = field(default_factory=dict)  # name -> reason

    def find_peers(self) -> None:
        """Ask every peer for its version once, installing what may be installed."""
        for kind in peers.ALL:
            try:
                self.available[kind.name] = kind().version()
            except Unavailable as reason:
                self.skipped[kind.name] = str(reason)
                self.say(f"{kind.name} is skipped: {reason}")

    def peer(self, name: str) -> Peer:
        """A fresh object of an available peer."""
        made = next(kind for kind in peers.ALL if kind.name == name)()
        made.version()
        return made

    def choose(self, *names: str) -> list[str]:
        """Those of `names` that are available, or all available ones."""
        return [name for name in (names or [kind.name for kind in peers.ALL]) if name in self.available]

    def say(self, text: str) -> None:
        """Progress, on standard error."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def best_peer(figures: dict[str, float]) -> tuple[str, float] | None:
    """The smallest figure that is not Holdfast's."""
    others = {name: value for name, value in figures.items() if name != "holdfast"}
    if not others:
        return None
    name = min(others, key=others.__getitem__)
    return name, others[name]
