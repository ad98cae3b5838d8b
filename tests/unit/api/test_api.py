"""The HTTP surface over a real Unix socket, around a keeper that is only a table of answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast import errors, limits
from holdfast.alerts.hook import Outcome
from holdfast.api import openapi, serve
from holdfast.api.app import OPERATIONS, make_app
from holdfast.errors import HoldfastError
from holdfast.healing.model import Phase
from holdfast.home import Home
from holdfast.keeper.acting import applying, leaving
from holdfast.keeper.telling import looking, notices, views
from holdfast.spec.model import FleetSpec


class TableKeeper:
    """Has one agent, `one`."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.asked: list[tuple[str, str]] = []
        self.records = [
            views.Event(seq=seq, at=1.0, kind="k", agent="one" if seq % 2 else "two", text=f"t{seq}", body={})
            for seq in range(1, 5)
        ]
        self.new_record = asyncio.Event()

    def status(self) -> views.Status:
        return views.Status(holdfast=views.Own(version="0", processes=[]), agents=[], warnings=[])

    def phase(self, name: str) -> Phase:
        if name != "one":
            raise HoldfastError(errors.AGENT_NOT_FOUND, agent=name)
        return Phase.HEALTHY

    def describe(self, name: str) -> object:
        self.phase(name)
        raise RuntimeError("a mistake of ours")

    def set_wanted(self, name: str, *, up: bool) -> None:
        self.phase(name)
        self.asked.append((name, "start" if up else "stop"))

    def restart(self, name: str) -> None:
        self.phase(name)
        self.asked.append((name, "restart"))

    def put_fleet(self, fleet: FleetSpec, *, merge: bool) -> views.FleetChange:
        if fleet.source == "full":
            raise HoldfastError(errors.DISK_FULL, path="/x", what="the change")
        return views.FleetChange(added=[str(merge)], changed=[], removed=[], unchanged=[])

    fleet = FleetSpec()

    def events(self, after: int) -> Iterator[views.Event]:
        return (event for event in self.records if event.seq > after)

    @property
    def recorder(self) -> TableKeeper:
        return self

    async def wait_after(self, after: int, timeout_s: float) -> bool:
        await self.new_record.wait()
        self.new_record.clear()
        return True

    def incident_rows(self) -> list[dict[str, Any]]:
        return [{"id": "i"}]

    def incident_groups(self) -> list[dict[str, Any]]:
        return [{"key": "k", "count": 1}]

    def incident_detail(self, incident_id: str) -> dict[str, Any]:
        raise HoldfastError(errors.INCIDENT_NOT_FOUND, incident=incident_id)

    def doctor(self) -> list[views.Check]:
        return [views.Check(name="init", ok=True, value="answers", why="", next="")]

    async def test_alerts(self) -> list[Outcome]:
        return [Outcome(channel="command x", ok=True)]

    async def down(self) -> int:
        return 3


@pytest.fixture(autouse=True)
def answers_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the API asks the modules of the keeper is answered by the keeper of these tests."""
    for name in ("status", "describe", "incident_rows", "incident_groups", "incident_detail"):
        monkeypatch.setattr(looking, name, lambda keeper, *asked, name=name: getattr(keeper, name)(*asked))
    monkeypatch.setattr(notices, "checks", lambda keeper: keeper.doctor())
    monkeypatch.setattr(leaving, "down", lambda keeper: keeper.down())
    monkeypatch.setattr(applying, "put", lambda keeper, fleet, merge: keeper.put_fleet(fleet, merge=merge))


class Client:
    def __init__(self, path: Path, keeper: TableKeeper) -> None:
        self.path = path
        self.keeper = keeper

    async def raw(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 90.0)
        writer.close()
        return answer

    async def ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, Any]:
        head = f"{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        answer = await self.raw(head.encode() + body)
        top, _, rest = answer.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in top.lower():
            rest = _unchunked(rest)
        return int(top.split()[1]), rest


def _unchunked(data: bytes) -> bytes:
    parts = []
    while data:
        size, _, data = data.partition(b"\r\n")
        parts.append(data[: int(size, 16)])
        data = data[int(size, 16) + 2 :]
    return b"".join(parts)


@contextlib.asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Client]:
    keeper = TableKeeper(Home(tmp_path))
    path = tmp_path / "api.sock"
    server = await serve.serve(make_app(keeper), serve.bind(path))  # type: ignore[arg-type]
    try:
        yield Client(path, keeper)
    finally:
        server.close()


def ask(tmp_path: Path, method: str, target: str, body: bytes = b"") -> tuple[int, Any]:
    async def scenario() -> tuple[int, Any]:
        async with serving(tmp_path) as client:
            status, raw = await client.ask(method, target, body)
            return status, json.loads(raw)

    return asyncio.run(scenario())


def test_the_socket_is_for_its_owner_alone_and_replaces_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    serve.bind(path).close()
    assert path.exists()
    sock = serve.bind(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    sock.close()


@pytest.mark.parametrize(
    ("method", "target", "body", "answer"),
    [
        (
            "GET",
            "/v1/status",
            b"",
            {"holdfast": {"version": "0", "processes": []}, "agents": [], "warnings": [], "node": None},
        ),
        ("POST", "/v1/agents/one/start", b"{}", {"agent": "one", "phase": "healthy"}),
        ("POST", "/v1/agents/one/restart", b'{"wait": false}', {"agent": "one", "phase": "healthy"}),
        ("POST", "/v1/agents/one/stop", b"", {"agent": "one", "phase": "healthy"}),
        ("PUT", "/v1/fleet", b"{}", {"added": ["False"], "changed": [], "removed": [], "unchanged": []}),
        ("PUT", "/v1/fleet?merge=1", b"{}", {"added": ["True"], "changed": [], "removed": [], "unchanged": []}),
        ("GET", "/v1/incidents", b"", {"incidents": [{"id": "i"}], "groups": [{"key": "k", "count": 1}]}),
        ("POST", "/v1/alerts/test", b"{}", {"sent": [{"channel": "command x", "ok": True, "reason": ""}]}),
        ("POST", "/v1/down", b'{"timeout_s": 5}', {"stopping": 3}),
    ],
)
def test_each_noun_answers(tmp_path: Path, method: str, target: str, body: bytes, answer: Any) -> None:
    assert ask(tmp_path, method, target, body) == (200, answer)


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code", "exit_code"),
    [
        ("GET", "/v1/agents/nobody", b"", 404, "HF2001", 4),
        ("POST", "/v1/agents/nobody/stop", b"{}", 404, "HF2001", 4),
        ("GET", "/v1/agents/nobody/logs", b"", 404, "HF2001", 4),
        ("GET", "/v1/incidents/x", b"", 404, "HF2011", 4),
        ("GET", "/v1/nothing", b"", 404, "HF3008", 2),
        ("DELETE", "/v1/status", b"", 405, "HF3008", 2),
        ("PUT", "/v1/fleet", b"{half", 400, "HF3008", 2),
        ("PUT", "/v1/fleet", b'{"agents": [{"name": 3}]}', 400, "HF3008", 2),
        ("PUT", "/v1/fleet?merge=yes", b"{}", 400, "HF3008", 2),
        ("PUT", "/v1/fleet", b'{"source": "full"}', 507, "HF4001", 1),
        ("POST", "/v1/agents/one/stop", b'{"wiat": true}', 400, "HF3008", 2),
        ("POST", "/v1/agents/one/stop", b"\xff\xfe", 400, "HF3008", 2),
        ("GET", "/v1/agents/one", b"", 500, "HF3009", 1),
        ("GET", "/v1/agents/one/logs?since=-1", b"", 400, "HF3008", 2),
        ("GET", "/v1/agents/one/logs?lines=many", b"", 400, "HF3008", 2),
        ("GET", "/v1/events?after=x", b"", 400, "HF3008", 2),
    ],
)
def test_every_error_has_the_one_shape(
    tmp_path: Path, method: str, target: str, body: bytes, status: int, code: str, exit_code: int
) -> None:
    answered, shown = ask(tmp_path, method, target, body)
    assert answered == status
    assert shown["error"].keys() == {"code", "name", "message", "next", "exit_code"}
    assert (shown["error"]["code"], shown["error"]["exit_code"]) == (code, exit_code)


def test_a_body_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    status, shown = ask(tmp_path, "PUT", "/v1/fleet", b" " * (limits.API_BODY_MAX_BYTES + 1))
    assert status == 400
    assert "larger than" in shown["error"]["message"]


def test_events_come_as_lines_and_can_be_of_one_agent(tmp_path: Path) -> None:
    async def scenario() -> list[Any]:
        async with serving(tmp_path) as client:
            _, raw = await client.ask("GET", "/v1/events?after=1&agent=two")
            return [json.loads(line) for line in raw.splitlines()]

    assert [event["seq"] for event in asyncio.run(scenario())] == [2, 4]


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ("last=2", [3, 4]),
        ("last=0", []),
        ("last=1&agent=two", [4]),
        ("kind=k", [1, 2, 3, 4]),
        ("kind=other,k.part", []),
        ("selector=team%3Dx", [1, 3]),
        ("selector=team!%3Dx", []),
    ],
)
def test_events_are_filtered_where_they_are_kept(tmp_path: Path, query: str, seqs: list[int]) -> None:
    async def scenario() -> tuple[int, Any]:
        async with serving(tmp_path) as client:
            one = SimpleNamespace(spec=SimpleNamespace(labels={"team": "x"}))
            client.keeper.agents = {"one": one}  # type: ignore[attr-defined]
            return await client.ask("GET", f"/v1/events?{query}")

    status, body = asyncio.run(scenario())
    assert status == 200
    assert [json.loads(line)["seq"] for line in body.splitlines() if line] == seqs


@pytest.mark.parametrize("path", ["/v1/status", "/v1/events"])
def test_a_selector_that_is_none_is_refused(tmp_path: Path, path: str) -> None:
    status, body = ask(tmp_path, "GET", f"{path}?selector=team+in+(")
    assert (status, body["error"]["code"]) == (400, "HF3008")


def test_a_follower_gets_what_is_written_later(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        async with serving(tmp_path) as client:
            reader, writer = await asyncio.open_unix_connection(str(client.path))
            writer.write(b"GET /v1/events?after=3&follow=1 HTTP/1.1\r\nHost: h\r\n\r\n")
            seen = []
            while len(seen) < 2:
                line = await asyncio.wait_for(reader.readline(), 90.0)
                if b'"seq"' in line:
                    seen.append(json.loads(line)["seq"])
                    client.keeper.records.append(
                        views.Event(seq=5, at=1.0, kind="k", agent="one", text="later", body={})
                    )
                    client.keeper.new_record.set()
            writer.close()
            return seen

    assert asyncio.run(scenario()) == [4, 5]


def test_logs_of_an_agent_that_printed_nothing_are_empty(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, bytes]:
        async with serving(tmp_path) as client:
            return await client.ask("GET", "/v1/agents/one/logs")

    assert asyncio.run(scenario()) == (200, b"")


def test_garbage_instead_of_http_does_not_disturb_others(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with serving(tmp_path) as client:
            await client.raw(b"\x16\x03\x01 not http\r\n\r\n")
            status, _ = await client.ask("GET", "/v1/status")
            return status

    assert asyncio.run(scenario()) == 200


def test_the_description_is_served_and_complete(tmp_path: Path) -> None:
    status, document = ask(tmp_path, "GET", "/openapi.json")
    assert status == 200
    assert document["openapi"] == "3.1.0"
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(operation.method, operation.path) for operation in OPERATIONS}


def test_every_reference_in_the_description_resolves() -> None:
    document = openapi.describe(OPERATIONS)
    text = json.dumps(document)
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert names == set(document["components"]["schemas"])


def test_every_operation_is_described_by_the_rules() -> None:
    document = openapi.describe(OPERATIONS)
    ids = []
    for path, methods in document["paths"].items():
        for operation in methods.values():
            ids.append(operation["operationId"])
            assert operation["summary"].endswith(".")
            declared = {it["name"] for it in operation.get("parameters", []) if it["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))
            assert set(operation["responses"]) == {"200", "default"}
            for answer in operation["responses"].values():
                assert all("schema" in media for media in answer["content"].values())
    assert len(ids) == len(set(ids))
