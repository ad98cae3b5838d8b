"""Speaks HTTP on the door for pushes (127.0.0.1), in the shapes of healthchecks.io and Uptime Kuma, and nothing else.

    GET, POST, HEAD /ping/TOKEN[/start|/fail|/log|/EXIT]     "OK", or 404 "not found"
    any method      /api/push/TOKEN?status=up&msg=&ping=     {"ok": true}, or 404 {"ok": false, "msg": ...}

Invariants: no route of the API can be reached here, whatever is asked; a request has PUSH_REQUEST_S to arrive, a head
and a body of bounded length, and a connection carries one request; whoever holds connections open keeps nobody else's
push out, since the oldest gives way; a token is never written anywhere. Called by serve.py for as long as the API is
served.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from holdfast import limits
from holdfast.health.push import Ping
from holdfast.printable import one_line

_PING = re.compile(r"/ping/(?P<token>[0-9A-Fa-f-]{32,36})(?:/(?P<what>start|fail|log|\d{1,3}))?/?")
_KUMA = re.compile(r"/api/push/(?P<token>[0-9A-Fa-f-]{32,36})/?")
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 411: "Length Required",
            429: "Too Many Requests"}  # fmt: skip
_DETAIL_MAX_CHARS = 200


class Said(NamedTuple):
    """An answer: status, type and body."""

    status: int
    media: str
    body: str


Hear = Callable[[str, Ping], str]
_OK, _NOT_FOUND = Said(200, "text/plain", "OK"), Said(404, "text/plain", "not found")
_OFTEN = Said(429, "text/plain", "too often")


class PushListener:
    """`open` and `close` follow the door."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._server: asyncio.AbstractServer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._serving: dict[asyncio.Task[None] | None, None] = {}  # oldest first

    def open(self, sock: socket.socket) -> None:
        self.close()
        self._opening = asyncio.get_running_loop().create_task(self._open(sock.dup()))

    async def _open(self, sock: socket.socket) -> None:
        self._server = await asyncio.start_server(self._serve, sock=sock, limit=limits.PUSH_HEAD_MAX_BYTES)

    def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
        if self._server is not None:
            self._server.close()
        self._opening = self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._serving) >= limits.PUSH_CONNECTIONS_MAX:
            oldest = next(iter(self._serving))
            del self._serving[oldest]
            if oldest is not None:
                oldest.cancel()
        task = asyncio.current_task()
        self._serving[task] = None
        try:
            async with asyncio.timeout(limits.PUSH_REQUEST_S):
                said, head_only = await self._answer(reader, writer)
                writer.write(_rendered(said, head_only=head_only))
                await writer.drain()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # what was not a request in time gets no answer
        finally:
            self._serving.pop(task, None)
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[Said, bool]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "transfer-encoding" in headers:
            return Said(411, "text/plain", "a length is required"), method == "HEAD"
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _read(reader, max(0, int(headers.get("content-length") or 0)))
        return respond(method, target, body, self._hear), method == "HEAD"


async def _read(reader: asyncio.StreamReader, length: int) -> bytes:
    """The first PUSH_BODY_MAX_BYTES; the rest is read and dropped, since an answer before its end would be lost."""
    body = await reader.readexactly(min(length, limits.PUSH_BODY_MAX_BYTES))
    left = min(length, limits.PUSH_DRAINED_MAX_BYTES) - len(body)
    while left > 0 and (part := await reader.read(min(left, 65_536))):
        left -= len(part)
    return body


def respond(method: str, target: str, body: bytes, hear: Hear) -> Said:
    """The answer to one request. Pure but for `hear`."""
    parts = urlsplit(target)
    path = unquote(parts.path)
    if (match := _PING.fullmatch(path)) is not None:
        if method not in ("GET", "POST", "HEAD"):
            return Said(405, "text/plain", "method not allowed")
        what = match["what"] or "0"
        if what.isdigit() and int(what) > 255:
            return Said(400, "text/plain", "invalid url format")
        heard = hear(match["token"], ping_of(what, body))
        return {"ok": _OK, "often": _OFTEN}.get(heard, _NOT_FOUND)
    if (match := _KUMA.fullmatch(path)) is not None:
        query = parse_qs(parts.query, keep_blank_values=True)
        message = one_line(query.get("msg", [""])[0], _DETAIL_MAX_CHARS)
        down = query.get("status", ["up"])[0].lower() == "down"
        heard = hear(match["token"], Ping(kind="fail" if down else "success", detail=message if down else ""))
        if heard == "ok":
            return Said(200, "application/json", json.dumps({"ok": True}))
        words = "too often" if heard == "often" else "Monitor not found or not active."
        return Said(429 if heard == "often" else 404, "application/json", json.dumps({"ok": False, "msg": words}))
    return _NOT_FOUND


def ping_of(what: str, body: bytes) -> Ping:
    """start, fail, log or an exit code, with what was sent along."""
    text = one_line(next((line for line in body.decode("utf-8", "replace").splitlines() if line.strip()), ""))
    text = text[:_DETAIL_MAX_CHARS]
    if what == "start":
        return Ping(kind="start")
    if what == "log":
        return Ping(kind="log", detail=text)
    if what == "fail":
        return Ping(kind="fail", detail=text or "it reported a failure")
    if int(what) == 0:
        return Ping(kind="success")
    return Ping(kind="fail", detail=f"it reported exit {int(what)}" + (f": {text}" if text else ""))


def _rendered(said: Said, *, head_only: bool) -> bytes:
    body = said.body.encode()
    head = (
        f"HTTP/1.1 {said.status} {_REASONS[said.status]}\r\nContent-Type: {said.media}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
