"""Nobody waits for what the kernel holds up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from holdfast.keeper.watching.errands import Errands, HeldUp


def test_what_is_held_up_is_given_up_and_asked_once() -> None:
    async def check() -> None:
        errands, released, begun = Errands(), threading.Event(), []

        def hang() -> str:
            begun.append(1)
            released.wait(30.0)
            return "late"

        for _ in range(3):
            with pytest.raises(HeldUp):
                await errands.run("/mnt", hang, 0.02)
        assert await errands.run("/other", lambda: "well", 10.0) == "well"
        assert begun == [1]
        released.set()
        while errands._under_way:
            await asyncio.sleep(0.001)
        assert await errands.run("/mnt", lambda: "again", 10.0) == "again"

    asyncio.run(check())


def test_an_error_reaches_everybody_who_asked() -> None:
    async def check() -> None:
        errands = Errands()

        def fail() -> None:
            raise OSError("no")

        found = await asyncio.gather(*(errands.run("/mnt", fail, 10.0) for _ in range(2)), return_exceptions=True)
        assert [str(error) for error in found] == ["no", "no"]

    asyncio.run(check())
