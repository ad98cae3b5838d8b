"""Work that the kernel may hold up for ever, such as a look into a dead mount: done in threads that can be given up.

Invariants: nobody waits longer than the time given; there is one thread for each key at most, and while it is held up
everybody who asks for that key is told so at once; the process can end whatever its threads wait for. The loop's own
threads are few: whatever may hang belongs here, or a few hung calls would hold up everybody's. Called by answering.py,
disk_watch.py, state_paths.py, proven.py, cases.py and page_outs.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class HeldUp(Exception):
    """It was not done in time; str(): the key."""


class Errands:
    """One for all that share keys."""

    def __init__(self) -> None:
        self._under_way: dict[str, tuple[float, asyncio.Future[Any]]] = {}  # with the time it began

    async def run(self, key: str, work: Callable[[], T], timeout_s: float) -> T:
        """What `work` returns or raises; work of the same key that is under way is shared. Raises HeldUp."""
        loop = asyncio.get_running_loop()
        if key not in self._under_way:
            self._under_way[key] = (loop.time(), self._begin(loop, key, work))
        began, answer = self._under_way[key]
        left_s = began + timeout_s - loop.time()
        if left_s <= 0 and not answer.done():
            raise HeldUp(key)
        done, _ = await asyncio.wait([answer], timeout=max(left_s, 0.0))
        if not done:
            raise HeldUp(key)
        result: T = answer.result()
        return result

    def _begin(self, loop: asyncio.AbstractEventLoop, key: str, work: Callable[[], T]) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = loop.create_future()

        def take(result: T | None, error: BaseException | None) -> None:
            self._under_way.pop(key, None)
            if answer.cancelled():
                return
            if error is not None:
                answer.set_exception(error)
                answer.exception()  # nobody may be left who asks
            else:
                answer.set_result(result)  # type: ignore[arg-type]

        def go() -> None:
            found: tuple[T | None, BaseException | None]
            try:
                found = work(), None
            except Exception as error:
                found = None, error
            try:
                loop.call_soon_threadsafe(take, *found)
            except RuntimeError:
                return  # the loop is closed

        try:
            threading.Thread(target=go, name="errand", daemon=True).start()
        except RuntimeError as error:  # no thread can be had: as good as no answer
            loop.call_soon(take, None, OSError(str(error)))
        return answer
