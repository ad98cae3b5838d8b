"""The keeper's line to init: one Unix socket, one JSON object a line (the words stand in init/protocol.py).

Invariant: nothing the keeper wants depends on a message having arrived. A line that breaks loses what was in
flight; after the next hello the whole state is compared again and whatever is still missing is sent again.
Called by the keeper's loop, which gets every event in the order init sent it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from holdfast import limits
from holdfast.init import protocol

Message = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


class _Lines(asyncio.Protocol):
    """Splits the stream into messages; a line longer than the protocol allows ends the connection."""

    def __init__(self, owner: InitLink) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if b"\n" not in data:
            if len(self._buffer) > protocol.MESSAGE_MAX_BYTES and self.transport is not None:
                self.transport.abort()
            return
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        self._owner.received(self, [line for line in lines if line])

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self)


class InitLink:
    """Keeps one connection to init for as long as the keeper lives.

    `on_hello(state)` once after each connect, `on_events(list)` for every batch read, `on_lost()` when the line
    breaks, `on_absent(seconds)` while no init answers (the keeper may then wake guard). All are plain functions
    and run in the loop.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_hello: Callable[[Message], None],
        on_events: Callable[[list[Message]], None],
        on_lost: Callable[[], None],
        on_absent: Callable[[float], None],
    ) -> None:
        self._path = str(path)
        self._on_hello = on_hello
        self._on_events = on_events
        self._on_lost = on_lost
        self._on_absent = on_absent
        self._lines: _Lines | None = None
        self._greeted = False
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._next_id = 1
        self._outgoing: list[bytes] = []
        self._broken = asyncio.Event()
        self._heard_mono = 0.0
        self.last_error = ""

    @property
    def connected(self) -> bool:
        """True between hello's answer and the break of the line."""
        return self._greeted

    async def run(self) -> None:
        """Connect, say hello, beat; for ever. Ends only by cancellation."""
        loop = asyncio.get_running_loop()
        gone_since = loop.time()
        while True:
            try:
                await self._connect()
            except (OSError, TimeoutError) as error:
                self.last_error = str(error) or type(error).__name__
                self.close()
                gone_s = loop.time() - gone_since
                self._on_absent(gone_s)
                await asyncio.sleep(min(limits.INIT_RECONNECT_MAX_S, limits.INIT_RECONNECT_S + gone_s / 10))
                continue
            try:
                await self._stay()
            finally:
                self.close()
            gone_since = loop.time()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._broken.clear()
        _, lines = await loop.create_unix_connection(lambda: _Lines(self), self._path)
        self._lines = lines
        answer = await self.call("hello", protocol=protocol.PROTOCOL, timeout_s=limits.INIT_ANSWER_TIMEOUT_S)
        if not answer.get("ok", False):
            raise ConnectionRefusedError(f"init refused hello: {answer.get('error', 'no reason given')}")

    async def _stay(self) -> None:
        """Beat until the line breaks or init has been silent for too long."""
        loop = asyncio.get_running_loop()
        self._heard_mono = loop.time()
        while True:
            self.send("beat")
            try:
                # Not wait_for: in Python 3.11 it swallows being cancelled in the moment in which its answer comes.
                async with asyncio.timeout(limits.BEAT_INTERVAL_S):
                    await self._broken.wait()
                return
            except TimeoutError:
                if loop.time() - self._heard_mono > limits.INIT_SILENT_S:
                    return

    def received(self, lines: _Lines, raw: list[bytes]) -> None:
        """All whole lines of one read: answers go to who asked, the rest to the keeper in one batch."""
        if lines is not self._lines:
            return
        self._heard_mono = asyncio.get_running_loop().time()
        events: list[Message] = []
        for line in raw:
            try:
                message = _decode(line)
            except msgspec.DecodeError as error:
                self.last_error = f"init sent what is no message: {error}"
                self._abort()
                return
            if "re" in message:
                self._answered(message)
            elif message.get("ev") != "beat":
                events.append(message)
        if events:
            self._on_events(events)

    def _answered(self, message: Message) -> None:
        if not self._greeted and message.get("ok") and "agents" in message:
            # Here and not after the await, so that events in the same read find the state already adopted.
            self._greeted = True
            self._on_hello(message)
        waiting = self._answers.pop(int(message["re"]), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def lost(self, lines: _Lines) -> None:
        if lines is not self._lines:
            return
        self._lines = None
        self._outgoing = []
        self._broken.set()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the line to init broke"))
        self._answers.clear()
        if self._greeted:
            self._greeted = False
            self._on_lost()

    def _abort(self) -> None:
        if self._lines is not None and self._lines.transport is not None:
            self._lines.transport.abort()

    def close(self) -> None:
        """Let go of the present connection, if any."""
        lines = self._lines
        if lines is not None:
            if lines.transport is not None:
                lines.transport.abort()
            self.lost(lines)

    def send(self, op: str, **fields: Any) -> bool:
        """Say it without waiting for the answer; False when no line stands (hello will bring it up again)."""
        if self._lines is None or self._lines.transport is None or self._lines.transport.is_closing():
            return False
        if not self._outgoing:
            # One write for all that one turn of the loop says: a thousand permits are not a thousand system calls.
            asyncio.get_running_loop().call_soon(self.flush)
        self._outgoing.append(_encode({"op": op, **fields}))
        return True

    def flush(self) -> None:
        """Hand what was said to the kernel now: for an act that must not come before its word."""
        said, self._outgoing = self._outgoing, []
        if said and self._lines is not None and self._lines.transport is not None:
            said.append(b"")
            self._lines.transport.write(b"\n".join(said))

    def request(self, op: str, **fields: Any) -> asyncio.Future[Message]:
        """Say it now; the future brings init's answer, or ConnectionResetError."""
        number = self._next_id
        self._next_id += 1
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        if self.send(op, id=number, **fields):
            self._answers[number] = future
        else:
            future.set_exception(ConnectionResetError("no line to init"))
        return future

    async def call(self, op: str, *, timeout_s: float, **fields: Any) -> Message:
        """Say it and wait for the answer. Raises ConnectionResetError or TimeoutError."""
        async with asyncio.timeout(timeout_s):
            return await self.request(op, **fields)


def guard_is_gone(lock: Path) -> bool:
    """Whether nobody holds guard's lock, that is: guard does not run. False when it cannot be told."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
