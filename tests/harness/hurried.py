"""An event loop whose time passes only while nobody has anything to do: hours of timers in milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

BEGIN = 100_000.0


class HurriedLoop(asyncio.SelectorEventLoop):
    """Sleeps and timers end at once, in their order. Nothing outside of the loop may be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        inner: Any = self
        if not inner._ready and inner._scheduled:
            self.now = max(self.now, inner._scheduled[0]._when)
        inner = super()
        inner._run_once()


def run(work: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run."""
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        runner.run(work)
