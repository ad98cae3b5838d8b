"""One restore of an agent while this keeper works on it: what its jobs are told, and whether the agent must not start.

Invariant: it is known to one keeper only; what the next one needs stands in the ledger (restore_course.py). Made by
restoring.py; waited for by its callers.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Course:
    """`hold`: the agent must not be started. `args`: what its jobs are told.

    `stuck`: why it could neither be finished nor undone. `left`: it was left half-way, and is only brought to its end.
    """

    def __init__(self, args: dict[str, Any], *, hold: bool = False) -> None:
        self.args = args
        self.hold = hold
        self.done = asyncio.Event()
        self.stuck = ""
        self.left = False
