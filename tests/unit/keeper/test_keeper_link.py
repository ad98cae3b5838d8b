"""The line to init: hello, order, reconnects, and what is done with nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.keeper.acting.link import InitLink, guard_is_gone
from tests.unit.keeper.fake_init import FakeInit, until


class Heard:
    """All callbacks of one link, in order."""

    def __init__(self, path: Path) -> None:
        self.order: list[Any] = []
        self.absent_s = 0.0
        self.link = InitLink(
            path,
            on_hello=lambda state: self.order.append(("hello", state["seq"])),
            on_events=lambda batch: self.order.extend(("event", event["seq"]) for event in batch),
            on_lost=lambda: self.order.append("lost"),
            on_absent=self._absent,
        )

    def _absent(self, seconds: float) -> None:
        self.absent_s = max(self.absent_s, seconds)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[InitLink]:
        task = asyncio.create_task(self.link.run())
        try:
            yield self.link
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self.link.close()


def test_hello_comes_before_the_events_behind_it(tmp_path: Path) -> None:
    async def scenario() -> list[Any]:
        heard = Heard(tmp_path / "s")
        async with FakeInit(tmp_path / "s") as init:
            init.after_hello = [{"seq": 1, "ev": "spawned"}, {"ev": "beat"}, {"seq": 2, "ev": "exited"}]
            async with heard.running():
                await until(lambda: len(heard.order) >= 3)
        return heard.order

    assert asyncio.run(scenario())[:3] == [("hello", 0), ("event", 1), ("event", 2)]


def test_it_ends_when_it_is_cancelled_in_the_moment_in_which_init_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        running: list[asyncio.Task[None]] = []

        def cancel(_: object) -> None:
            running[0].cancel()

        link = InitLink(
            tmp_path / "s",
            on_hello=lambda _: None,
            on_events=cancel,
            on_lost=lambda: None,
            on_absent=lambda _: None,
        )
        async with FakeInit(tmp_path / "s") as init:
            init.after_hello = [{"seq": 1, "ev": "spawned"}]
            running.append(asyncio.create_task(link.run()))
            done, _ = await asyncio.wait(running, timeout=90.0)
            link.close()
            assert done

    asyncio.run(scenario())


def test_it_waits_for_an_init_that_is_not_there_yet_and_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard = Heard(tmp_path / "s")
        async with heard.running() as link:
            await until(lambda: heard.absent_s > 0)
            assert not link.send("beat")
            with pytest.raises(ConnectionResetError):
                await link.call("beat", timeout_s=1.0)
            async with FakeInit(tmp_path / "s"):
                await until(lambda: link.connected)

    asyncio.run(scenario())


def test_after_a_break_it_says_hello_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard = Heard(tmp_path / "s")
        async with FakeInit(tmp_path / "s") as init, heard.running() as link:
            await until(lambda: link.connected)
            init.hang_up()
            await until(lambda: heard.order.count(("hello", 0)) == 2)
            assert heard.order == [("hello", 0), "lost", ("hello", 0)]

    asyncio.run(scenario())


def test_what_one_turn_says_keeps_its_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard = Heard(tmp_path / "s")
        async with FakeInit(tmp_path / "s") as init, heard.running() as link:
            await until(lambda: link.connected)
            for number in range(100):
                link.send("permit", agent=str(number))
            answer = await link.call("beat", timeout_s=90.0)
            assert answer["ok"]
            assert [message["agent"] for message in init.said("permit")] == [str(number) for number in range(100)]

    asyncio.run(scenario())


def test_nonsense_from_init_ends_the_line_and_not_the_keeper(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard = Heard(tmp_path / "s")
        async with FakeInit(tmp_path / "s") as init, heard.running() as link:
            init.raw_after_hello = b"this is no JSON\n"
            await until(lambda: "lost" in heard.order)
            init.raw_after_hello = b""
            await until(lambda: link.connected and heard.order[-1] == ("hello", 0))
            assert "no message" in link.last_error

    asyncio.run(scenario())


def test_a_refused_hello_is_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        heard = Heard(tmp_path / "s")
        async with FakeInit(tmp_path / "s") as init, heard.running() as link:
            init.refuse_hello = "protocol 1 is not 2"
            await until(lambda: len(init.said("hello")) > 1)
            assert "protocol 1 is not 2" in link.last_error
            init.refuse_hello = ""
            await until(lambda: link.connected)

    asyncio.run(scenario())


def test_guard_is_gone_when_nobody_holds_its_lock(tmp_path: Path) -> None:
    lock = tmp_path / "guard.lock"
    assert guard_is_gone(lock)
    fd = os.open(lock, os.O_RDWR | os.O_CREAT)
    assert guard_is_gone(lock)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert not guard_is_gone(lock)
    os.close(fd)
    assert guard_is_gone(lock)
