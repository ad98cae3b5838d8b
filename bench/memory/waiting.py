"""Waiting for a condition, within the namespace of a scenario."""

from __future__ import annotations

import time
from collections.abc import Callable


class NotYet(Exception):
    """The run says nothing: what was waited for did not come; the text names it."""


def wait_until(condition: Callable[[], object], what: str, within_s: float, every_s: float = 0.02) -> None:
    """Raises NotYet."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise NotYet(f"{what}: not within {within_s:.0f} s")
        time.sleep(every_s)
