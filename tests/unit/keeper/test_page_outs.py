"""A kernel that does not end with paging out holds up nobody but that agent."""

from __future__ import annotations

import asyncio
import threading

import pytest

from holdfast import limits
from holdfast.keeper.density.page_outs import PageOuts


class Pages:
    """Answers when `goes_on` is set."""

    def __init__(self, goes_on: threading.Event) -> None:
        self._goes_on = goes_on

    def page_out(self) -> int:
        self._goes_on.wait(60.0)
        return 7


def test_more_page_outs_that_hang_than_may_run_at_once_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAGE_OUT_TIMEOUT_S", 0.05)
    released, free = threading.Event(), threading.Event()
    free.set()

    async def check() -> None:
        outs = PageOuts()
        hung = [outs.of(f"hung-{number}", Pages(released)) for number in range(limits.PAGE_OUTS_AT_ONCE + 2)]
        assert await asyncio.gather(*hung) == [None] * len(hung)
        monkeypatch.setattr(limits, "PAGE_OUT_TIMEOUT_S", 60.0)
        assert await outs.of("well", Pages(free)) == 7
        assert await asyncio.to_thread(lambda: "none of the loop's own threads is taken")

    try:
        asyncio.run(check())
    finally:
        released.set()
