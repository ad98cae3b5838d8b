"""Pages out what idle agents hold, some at a time, in threads that can be given up.

Invariant: the kernel may take minutes for it, or for ever on a swap that does not answer. That holds up nothing else of
the keeper; each turn of one ends within PAGE_OUT_TIMEOUT_S. Called by acts.py and sleeping.py.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from holdfast import limits
from holdfast.keeper.watching.errands import Errands, HeldUp


class Pages(Protocol):
    """What is needed of a memory group."""

    def page_out(self) -> int: ...


class PageOuts:
    """`of` is all of it."""

    def __init__(self) -> None:
        self._errands = Errands()
        self._turns = asyncio.Semaphore(limits.PAGE_OUTS_AT_ONCE)

    async def of(self, name: str, group: Pages) -> int | None:
        """Bytes that the kernel was asked to page out; None: it did not answer in time. Raises OSError."""
        async with self._turns:
            try:
                return await self._errands.run(name, group.page_out, limits.PAGE_OUT_TIMEOUT_S)
            except HeldUp:
                return None
