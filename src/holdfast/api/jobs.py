"""Jobs of versioned state as answers: whole, as JSON lines while they work, or as the bytes they read.

Invariant: an error known before anything was sent has its own HTTP status; one that comes later is the last line of a
stream, or breaks a stream of bytes off, so that a part is never taken for the whole. A client that left ends the job,
but for those which must not stop half-way (`kept_up`). Called by snapshots.py, state.py, restore.py and removal.py.

A message is one of {"progress": {"done", "total", "what"}}, {"chunk": bytes}, {"result": …}, {"error": …}.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from holdfast import errors, limits
from holdfast.api.stream import StreamedResponse
from holdfast.errors import HoldfastError
from holdfast.keeper.keeper import Keeper
from holdfast.worker.protocol import Fault, JobFailed

Message = dict[str, Any]
MEDIA = "application/x-ndjson"
FIRST_WORD_S = 2.0  # so long an error may take to become a status; then the stream begins
KEPT_MESSAGES_MAX = 64  # progress beyond it is dropped: nobody reads it
_DONE = object()
_REASONS: dict[str, str] = {
    Fault.BUSY: "another snapshot, restore or collection of it is under way; wait for it and repeat the command",
    Fault.INTERRUPTED: "it was interrupted, nothing was changed by it; repeat the command",
    Fault.CANCELLED: "it was ended before it was done",
}


class Source(Protocol):
    """Who carries jobs out: the keeper's Snapshots."""

    def job(self, name: str, agent: str, **args: Any) -> AsyncIterator[Message]: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A job as people know it. `what`: in words, for errors; `path`: of a file that was asked for."""

    agent: str
    what: str
    home: str = ""
    path: str = ""
    snapshot: str = ""


def failure(asked: Asked, told: Any) -> HoldfastError:
    """The error of a job as people read it. `told`: {"kind": one of the worker's words or a code, "detail"}."""
    kind, detail = (str(told.get("kind", "")), told.get("detail")) if isinstance(told, dict) else ("", told)
    if kind in errors.CATALOGUE:
        given = detail if isinstance(detail, dict) else {"reason": detail}
        return HoldfastError(errors.CATALOGUE[kind], **{"agent": asked.agent, "what": asked.what, **given})
    reason = str(detail or kind or "no reason was given")
    if kind == Fault.FULL:
        rest = " (snapshots made before can be restored)"
        return HoldfastError(errors.DISK_FULL, path=asked.home, what=f"{asked.what} of {asked.agent}{rest}")
    if kind == Fault.REFUSED:
        return HoldfastError(errors.API_REFUSED, reason=f"{asked.agent}: {reason}")
    if kind == Fault.NOT_FOUND and asked.path:
        return HoldfastError(errors.STATE_PATH_NOT_FOUND, agent=asked.agent, path=asked.path)
    if kind == Fault.NOT_FOUND and asked.snapshot:
        return HoldfastError(errors.SNAPSHOT_NOT_FOUND, agent=asked.agent, snapshot=asked.snapshot)
    if kind == Fault.DAMAGED:
        return HoldfastError(errors.STATE_DAMAGED, agent=asked.agent, what=asked.what, reason=reason)
    return HoldfastError(errors.STATE_FAILED, agent=asked.agent, what=asked.what, reason=_REASONS.get(kind, reason))


async def _heard(messages: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
    """The same, with the end of a job that failed as its last message."""
    try:
        async for message in messages:
            yield message
    except JobFailed as failed:
        yield {"error": {"kind": str(failed.kind), "detail": failed.detail}}
    finally:
        await close(messages)


async def result(asked: Asked, messages: AsyncIterator[Message]) -> Any:
    """What the job answers in the end. Raises HoldfastError."""
    async with contextlib.aclosing(_heard(messages)) as heard:
        async for message in heard:
            if "error" in message:
                raise failure(asked, message["error"])
            if "result" in message:
                return message["result"]
    raise HoldfastError(errors.STATE_FAILED, agent=asked.agent, what=asked.what, reason="it ended without an answer")


async def lines(asked: Asked, messages: AsyncIterator[Message]) -> StreamedResponse:
    """Progress as JSON lines, the result or the error last. Raises HoldfastError for an early error."""
    messages = _heard(messages)
    waiting = asyncio.ensure_future(anext(messages, None))
    try:
        await asyncio.wait((waiting,), timeout=FIRST_WORD_S)
    except asyncio.CancelledError:
        waiting.cancel()
        raise
    if waiting.done():
        first = waiting.result()
        if first is None or "error" in first:
            await close(messages)
            raise failure(asked, (first or {}).get("error"))
    return StreamedResponse(_lines(asked, waiting, messages), MEDIA)


async def _lines(
    asked: Asked, waiting: asyncio.Future[Message | None], messages: AsyncIterator[Message]
) -> AsyncIterator[bytes]:
    try:
        while True:
            done, _ = await asyncio.wait((waiting,), timeout=limits.STREAM_SIGN_OF_LIFE_S)
            if not done:
                yield b"\n"  # a sign of life
                continue
            message = _ended(asked, waiting)
            yield msgspec.json.encode(message, enc_hook=str) + b"\n"
            if "progress" not in message:
                return
            waiting = asyncio.ensure_future(anext(messages, None))
    finally:
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError, HoldfastError):
            await waiting
        await close(messages)


def _ended(asked: Asked, waiting: asyncio.Future[Message | None]) -> Message:
    """The next message as it is sent; errors in the shape of all errors."""
    try:
        message = waiting.result()
        if message is not None and "error" not in message:
            return message
        error = failure(asked, None if message is None else message["error"])
    except HoldfastError as raised:
        error = raised
    return {"error": {**error.as_dict(), "exit_code": error.exit_code}}


async def pieces(asked: Asked, messages: AsyncIterator[Message], media: str) -> StreamedResponse:
    """The bytes a job reads. Raises HoldfastError for an error before the first of them."""
    messages = _heard(messages)
    first = await _chunk(asked, messages)
    return StreamedResponse(_pieces(asked, first, messages), media)


async def _pieces(asked: Asked, first: bytes | None, messages: AsyncIterator[Message]) -> AsyncIterator[bytes]:
    try:
        chunk = first
        while chunk is not None:
            yield chunk
            chunk = await _chunk(asked, messages)
    finally:
        await close(messages)


async def _chunk(asked: Asked, messages: AsyncIterator[Message]) -> bytes | None:
    """None at the end."""
    async for message in messages:
        if "error" in message:
            raise failure(asked, message["error"])
        if "result" in message:
            return None
        if chunk := message.get("chunk"):
            return bytes(chunk)
    raise HoldfastError(errors.STATE_FAILED, agent=asked.agent, what=asked.what, reason="it ended in the middle")


async def close(messages: AsyncIterator[Any]) -> None:
    """The job ends with its reader."""
    if isinstance(messages, AsyncGenerator):
        await messages.aclose()


def of(keeper: Keeper) -> Source:
    source: Source = keeper.snapshots
    return source


def kept_up(keeper: Keeper, messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
    """The same messages, but the job goes on to its end when nobody reads them any more."""
    queue: asyncio.Queue[Any] = asyncio.Queue()

    async def work() -> None:
        try:
            async for message in messages:
                if "progress" not in message or queue.qsize() < KEPT_MESSAGES_MAX:
                    queue.put_nowait(message)
        except (HoldfastError, JobFailed) as error:
            queue.put_nowait(error)
        finally:
            queue.put_nowait(_DONE)

    keeper.tasks.spawn(work())
    return _read(queue)


async def _read(queue: asyncio.Queue[Any]) -> AsyncIterator[Message]:
    while (message := await queue.get()) is not _DONE:
        if isinstance(message, Exception):
            raise message
        yield message
