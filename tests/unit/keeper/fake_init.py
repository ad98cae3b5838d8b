"""An init for tests of the line alone: a real Unix socket that speaks the protocol as it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Message = dict[str, Any]


class FakeInit:
    """Answers hello with `state`, everything else with ok; `heard` has all that the keeper said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[Message] = []
        self.state: Message = {
            "boot_id": "b", "home_id": "h", "init": {"pid": 2, "restarts": 0}, "guard": {"pid": 1, "restarts": 0},
            "services": {}, "agents": {}, "seq": 0, "acked": 0, "mode": "run",
        }  # fmt: skip
        self.after_hello: list[Message] = []
        self.refuse_hello = ""
        self.raw_after_hello = b""
        self._server: asyncio.AbstractServer | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> FakeInit:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.hang_up()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def say(self, **event: Any) -> None:
        for writer in self._writers:
            writer.write(json.dumps(event).encode() + b"\n")

    def said(self, op: str) -> list[Message]:
        return [message for message in self.heard if message["op"] == op]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while line := await reader.readline():
                message = json.loads(line)
                self.heard.append(message)
                self._answer(writer, message)

    def _answer(self, writer: asyncio.StreamWriter, message: Message) -> None:
        if "id" not in message:
            return
        answer: Message = {"re": message["id"], "ok": True}
        if message["op"] == "hello":
            answer |= {"ok": False, "error": self.refuse_hello} if self.refuse_hello else self.state
        lines = [answer, *(self.after_hello if message["op"] == "hello" else [])]
        writer.write(b"".join(json.dumps(one).encode() + b"\n" for one in lines))
        if message["op"] == "hello":
            writer.write(self.raw_after_hello)


async def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """The first true value of `condition`; fails when it never comes."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while asyncio.get_running_loop().time() < deadline:
        if value := condition():
            return value
        await asyncio.sleep(0.002)
    raise AssertionError("never happened")
