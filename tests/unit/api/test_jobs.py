"""Jobs as streams: what ends with its reader, what does not, and what a broken end looks like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.api import jobs
from holdfast.api.jobs import Asked
from holdfast.errors import HoldfastError
from holdfast.keeper.tasks import Tasks
from holdfast.worker.protocol import Fault, JobFailed

ASKED = Asked("bot", "the work", "/home")


async def working(ended: list[str], gate: asyncio.Event) -> AsyncIterator[dict[str, Any]]:
    try:
        yield {"progress": {"done": 1, "total": 2, "what": "files"}}
        await gate.wait()
        ended.append("done")
        yield {"result": {"well": True}}
    finally:
        ended.append("closed")


async def read_one_then_leave(response: Any) -> bytes:
    pieces = response._pieces
    first: bytes = await anext(pieces)
    await pieces.aclose()
    return first


def test_work_ends_with_its_reader() -> None:
    async def scenario() -> list[str]:
        ended: list[str] = []
        first = await read_one_then_leave(await jobs.lines(ASKED, working(ended, asyncio.Event())))
        assert b'"progress"' in first
        return ended

    assert asyncio.run(scenario()) == ["closed"]


def test_work_that_must_not_stop_half_way_goes_on_without_a_reader() -> None:
    async def scenario() -> list[str]:
        ended: list[str] = []
        gate, tasks = asyncio.Event(), Tasks()
        keeper: Any = SimpleNamespace(tasks=tasks)
        await read_one_then_leave(await jobs.lines(ASKED, jobs.kept_up(keeper, working(ended, gate))))
        assert ended == []
        gate.set()
        await tasks.finish(10.0)
        return ended

    assert asyncio.run(scenario()) == ["done", "closed"]


async def failing(*messages: Any) -> AsyncIterator[dict[str, Any]]:
    for message in messages:
        yield message
    raise JobFailed(Fault.DAMAGED, "pack 12")


def test_a_failure_before_anything_was_sent_is_an_error_of_its_own() -> None:
    for answer in (jobs.lines(ASKED, failing()), jobs.pieces(ASKED, failing(), "x/y"), jobs.result(ASKED, failing())):
        with pytest.raises(HoldfastError, match="met damage: pack 12"):
            asyncio.run(answer)


def test_bytes_that_fail_later_break_off_and_lines_tell_why() -> None:
    async def scenario() -> None:
        response: Any = await jobs.pieces(ASKED, failing({"chunk": b"a"}), "x/y")
        pieces = response._pieces
        assert await anext(pieces) == b"a"
        with pytest.raises(HoldfastError, match="pack 12"):
            await anext(pieces)
        told: Any = await jobs.lines(ASKED, failing({"progress": {"done": 0, "total": 0, "what": ""}}))
        last = [line async for line in told._pieces][-1]
        assert b"HF2058" in last
        assert b'"exit_code":1' in last

    asyncio.run(scenario())


def test_a_job_that_ends_without_an_answer_is_no_success() -> None:
    async def silent() -> AsyncIterator[dict[str, Any]]:
        return
        yield {}

    for answer in (jobs.lines(ASKED, silent()), jobs.pieces(ASKED, silent(), "x/y"), jobs.result(ASKED, silent())):
        with pytest.raises(HoldfastError, match="the work failed"):
            asyncio.run(answer)
