"""What requests on the door for pushes are taken for."""

from __future__ import annotations

import asyncio
import socket

import pytest

from holdfast import limits
from holdfast.api.push_listener import PushListener, ping_of, respond
from holdfast.health.push import Ping

TOKEN = "123e4567-e89b-42d3-a456-426614174000"


def heard(method: str, target: str, body: bytes = b"", known: str = "ok") -> tuple[int, str, list[tuple[str, Ping]]]:
    calls: list[tuple[str, Ping]] = []

    def hear(token: str, ping: Ping) -> str:
        calls.append((token, ping))
        return known if token == TOKEN else "unknown"

    said = respond(method, target, body, hear)
    return said.status, said.body, calls


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize(
    ("what", "ping"),
    [
        ("", Ping(kind="success")),
        ("/0", Ping(kind="success")),
        ("?rid=1", Ping(kind="success")),
        ("/start", Ping(kind="start")),
        ("/fail", Ping(kind="fail", detail="it reported a failure")),
        ("/log", Ping(kind="log")),
        ("/137", Ping(kind="fail", detail="it reported exit 137")),
    ],
)
def test_the_shapes_of_healthchecks(method: str, what: str, ping: Ping) -> None:
    assert heard(method, f"/ping/{TOKEN}{what}") == (200, "OK", [(TOKEN, ping)])


@pytest.mark.parametrize(
    ("query", "ping"),
    [
        ("", Ping(kind="success")),
        ("?status=up&msg=OK&ping=", Ping(kind="success")),
        ("?status=down&msg=no+answer", Ping(kind="fail", detail="no answer")),
    ],
)
def test_the_shape_of_uptime_kuma(query: str, ping: Ping) -> None:
    assert heard("GET", f"/api/push/{TOKEN}{query}") == (200, '{"ok": true}', [(TOKEN, ping)])


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/ping/00000000-0000-4000-8000-000000000000", 404),
        ("GET", "/api/push/00000000-0000-4000-8000-000000000000?status=up", 404),
        ("GET", f"/ping/{TOKEN}/256", 400),
        ("PUT", f"/ping/{TOKEN}", 405),
        ("GET", f"/ping/{TOKEN}/stop", 404),
        ("GET", f"/ping/../ping/{TOKEN}", 404),
        ("GET", "/v1/status", 404),
        ("GET", "http://other/v1/status", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "*", 404),
    ],
)
def test_everything_else_is_refused(method: str, target: str, status: int) -> None:
    assert heard(method, target)[0] == status


def test_one_that_pushes_too_often_is_told_so() -> None:
    assert heard("GET", f"/ping/{TOKEN}", known="often")[:2] == (429, "too often")
    assert heard("GET", f"/api/push/{TOKEN}", known="often")[0] == 429


def test_what_is_sent_along_is_one_printable_clause() -> None:
    assert ping_of("2", b"\n\x1b[31mred\x1b[0m \x07 line\nmore").detail == "it reported exit 2: red line"
    assert len(ping_of("fail", b"\xff" * 10_000).detail) <= 200


def test_whoever_holds_connections_open_keeps_nobodys_push_out() -> None:
    async def push(address: tuple[str, int]) -> bytes:
        held = [await asyncio.open_connection(*address) for _ in range(limits.PUSH_CONNECTIONS_MAX + 20)]
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"GET /ping/{TOKEN} HTTP/1.0\r\n\r\n".encode())
        answer = await reader.read()
        oldest = await held[0][0].read()  # it had to give way
        for _, other in (*held, (reader, writer)):
            other.close()
        return answer + oldest

    async def scene() -> bytes:
        door = socket.create_server(("127.0.0.1", 0), backlog=limits.PUSH_CONNECTIONS_MAX)
        listener = PushListener(lambda token, ping: "ok" if token == TOKEN else "unknown")
        listener.open(door)
        try:
            return await asyncio.wait_for(push(door.getsockname()), limits.PUSH_REQUEST_S)
        finally:
            listener.close()
            door.close()

    assert asyncio.run(scene()).endswith(b"\r\n\r\nOK")
