"""A keeper whose memory part is altered or weighed, in place of the real one: `every SECONDS|off|weigh --home HOME`.

every: it looks so often and hears nothing between. off: it never looks, so that what looking costs is the difference.
weigh: as it is; what its turns, its peeks and what the kernel tells it cost is written to HOME/weighed as seconds of
CPU, so that their share of the keeper's is known. Everything else is the keeper itself.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.api.serve import serve_keeper
from holdfast.keeper.density.groups import AgentGroups
from holdfast.keeper.density.loop import Semaphore
from holdfast.keeper.main import main

TOLD_EVERY_S = 0.2


def look_every(seconds: float) -> None:
    """No word of the kernel, of init or of the queue makes it look sooner, and nothing later."""
    turn: Callable[[Any], None] = Semaphore._turn

    def ring(self: Any) -> None:
        turn(self)
        self._timer = asyncio.get_running_loop().call_later(seconds, ring, self)

    Semaphore._turn = ring  # type: ignore[method-assign]
    Semaphore._arm = lambda self, due_mono, ring: None  # type: ignore[method-assign]
    Semaphore.look = lambda self: None  # type: ignore[method-assign]
    AgentGroups.listen = lambda self: None  # type: ignore[method-assign]


def never_look() -> None:
    Semaphore.begin = lambda self: None  # type: ignore[method-assign]


def weigh(path: Path) -> None:
    """What one calls within another is counted once."""
    spent = told_mono = 0.0
    depth = 0

    def weighed(act: Callable[..., None]) -> Callable[..., None]:
        def run(*words: Any) -> None:
            nonlocal spent, told_mono, depth
            depth += 1
            before = time.thread_time()
            try:
                act(*words)
            finally:
                depth -= 1
                spent += time.thread_time() - before if depth == 0 else 0.0
                if (now := time.monotonic()) - told_mono > TOLD_EVERY_S:
                    told_mono = now
                    path.write_text(f"{spent:.6f}")

        return run

    Semaphore._turn = weighed(Semaphore._turn)  # type: ignore[method-assign]
    Semaphore._peek = weighed(Semaphore._peek)  # type: ignore[method-assign]
    AgentGroups._on_heard = weighed(AgentGroups._on_heard)  # type: ignore[method-assign]


def _alter(words: list[str]) -> list[str]:
    """What is left for the keeper's own command line."""
    if words[0] == "every":
        look_every(float(words[1]))
        return words[2:]
    if words[0] == "off":
        never_look()
    else:
        weigh(Path(words[words.index("--home") + 1]) / "weighed")
    return words[1:]


if __name__ == "__main__":
    sys.argv[1:] = _alter(sys.argv[1:])
    sys.exit(main(serve_keeper))
