"""Lines reach real log servers at least once: through refusals, kill -9, rotation, compression and deletion."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.home import Home
from holdfast.logs import rotation, ship_cursor
from holdfast.logs.ship_cursor import Cursor
from holdfast.logs.ship_send import RefusedForGood, Sender
from holdfast.logs.shipper import Way
from holdfast.logs.wanted import AgentWanted, Wanted
from holdfast.spec.model import Logs, Shipping
from tests.unit.logs.loggers import until
from tests.unit.logs.test_log_archive import home_with, tidy


class LogServer(ThreadingHTTPServer):
    """Keeps every body it accepted; `answers`: what to say first, before all else is 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[str | None] = []
        self.answers: list[int] = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def lines(self) -> list[str]:
        return [value[1] for body in list(self.bodies) for stream in body["streams"] for value in stream["values"]]


class Handler(BaseHTTPRequestHandler):
    server: LogServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        code = self.server.answers.pop(0) if self.server.answers else 204
        if code == 204:
            self.server.bodies.append(json.loads(body))
            self.server.paths.append(self.path)
            self.server.headers.append(self.headers["Authorization"])
        self.send_response(code)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[LogServer]:
    found = LogServer()
    yield found
    found.shutdown()
    found.server_close()


def configure(home: Home, *targets: Shipping) -> None:
    (home.path / "logger").mkdir(exist_ok=True)
    wanted = Wanted(agents={"a": AgentWanted(logs=Logs(ship=targets), labels={"team": "red"})})
    (home.path / "logger" / "settings.json").write_bytes(msgspec.json.encode(wanted))


def start(home: Home) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "holdfast.logs.shipper", "--home", str(home.path)], stdout=subprocess.DEVNULL
    )


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def text(first: int, count: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, first + count))


def test_a_shipper_killed_again_and_again_leaves_out_no_line(tmp_path: Path, server: LogServer) -> None:
    home = home_with(tmp_path, text(0, 2000), text(2000, 2000))
    secret = {"Authorization": "Bearer geheim"}
    configure(home, Shipping(kind="loki", url=server.url, headers=secret))
    server.answers = [500, 429]
    shipper = start(home)
    try:
        log = home.agent_logs("a") / "log"
        for turn in range(4):
            until(lambda: len(server.lines()) >= 1000 * (turn + 1))  # noqa: B023
            assert b"geheim" not in Path(f"/proc/{shipper.pid}/cmdline").read_bytes()
            shipper.send_signal(signal.SIGKILL)
            shipper.wait()
            if turn == 1:
                tidy(home)
            if turn == 2:
                rotation.rotate(str(home.agent_logs("a")), 100)
            with log.open("ab") as file:
                file.write(text(4000 + turn * 10, 10))
            shipper = start(home)
        with log.open("ab") as file:
            file.write(b"not yet a whole line")
        until(lambda: set(server.lines()) >= {f"line {number}" for number in range(4040)})
        with log.open("ab") as file:
            file.write(b", now it is\n")
        until(lambda: server.lines()[-1] == "not yet a whole line, now it is")
    finally:
        end(shipper)
    lines = server.lines()
    assert "not yet a whole line" not in lines
    assert list(dict.fromkeys(lines))[:4040] == [f"line {number}" for number in range(4040)], "in order"
    assert len(lines) - len(set(lines)) <= 4 * 1000, "at most one batch again a kill"
    stream = server.bodies[0]["streams"][0]
    assert stream["stream"] == {"team": "red", "job": "holdfast", "agent": "a", "host": os.uname().nodename}
    stamps = [int(value[0]) for value in stream["values"]]
    assert stamps == sorted(set(stamps)), "no two lines have one time: Loki would take them for the same"
    assert server.paths[0] == "/loki/api/v1/push"
    assert set(server.headers) == {"Bearer geheim"}


def test_several_servers_are_served_by_one_process_and_a_dead_one_holds_up_nobody(
    tmp_path: Path, server: LogServer
) -> None:
    home = home_with(tmp_path, text(0, 5))
    listener = socket.create_server(("127.0.0.1", 0))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    local = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    local.bind(str(tmp_path / "syslog"))
    for waiting in (listener, datagrams, local):
        waiting.settimeout(90)
    configure(
        home,
        Shipping(kind="loki", url="http://127.0.0.1:1/"),
        Shipping(kind="otlp", url=server.url),
        Shipping(kind="syslog", url=f"tcp://127.0.0.1:{listener.getsockname()[1]}"),
        Shipping(kind="syslog", url=f"udp://127.0.0.1:{datagrams.getsockname()[1]}"),
        Shipping(kind="syslog", url=f"unix://{tmp_path / 'syslog'}"),
    )
    shipper = start(home)
    try:
        connection, _ = listener.accept()
        connection.settimeout(90)
        streamed = b""
        while not streamed.endswith(b"line 4"):
            streamed += connection.recv(65536)
        for receiver in (datagrams, local):
            messages = [receiver.recv(65536) for _ in range(5)]
            assert [message.rpartition(b" - - - ")[2] for message in messages] == text(0, 5).splitlines()
        until(lambda: server.bodies)
        connection.close()
    finally:
        end(shipper)
        for waiting in (listener, datagrams, local):
            waiting.close()
    length, _, first = streamed.partition(b" ")
    assert first[: int(length)].endswith(b" a - - - line 0"), "each message has its length in front"
    assert first.startswith(b"<14>1 19")
    records = server.bodies[0]["resourceLogs"][0]
    assert [one["body"]["stringValue"] for one in records["scopeLogs"][0]["logRecords"]] == [
        f"line {number}" for number in range(5)
    ]
    assert {"key": "service.name", "value": {"stringValue": "a"}} in records["resource"]["attributes"]
    assert set(server.paths) == {"/v1/logs"}


def test_a_logger_starts_the_shipper_when_it_is_configured_and_ends_it_with_itself(
    tmp_path: Path, server: LogServer
) -> None:
    from holdfast.logs import settings
    from tests.unit.logs.loggers import make_home, running, say

    home = make_home(tmp_path, "a")
    with running(home) as logger:
        configure(home, Shipping(kind="loki", url=server.url))
        partial = home.path / "logger" / "new"
        partial.write_bytes(settings.pack({"a": (1_000_000, 5, 0)}, ("shipper",)))
        partial.rename(home.path / "logger" / settings.LIMITS)
        say(home, "a", b"hello\n")
        until(server.lines)
        assert set(server.lines()) == {"hello"}
        children = Path(f"/proc/{logger.pid}/task/{logger.pid}/children").read_text().split()
        assert children
        logger.kill()
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in children))


class Taken:
    """A server that takes everything, or refuses it for good."""

    def __init__(self, refuse: bool = False) -> None:
        self.lines: list[bytes] = []
        self.refuse = refuse

    def send(self, agent: str, labels: object, lines: list[Any]) -> None:
        if self.refuse:
            raise RefusedForGood("HTTP 400")
        self.lines += [line.text for line in lines]


def all_of(way: Way, taken: Taken) -> list[bytes]:
    while way.step(taken):  # type: ignore[arg-type]
        pass
    return taken.lines


def test_lines_deleted_before_they_were_shipped_are_counted_and_told(tmp_path: Path) -> None:
    home = home_with(tmp_path, text(0, 10), text(10, 10), text(20, 10))
    said: list[str] = []
    target = Shipping(kind="loki", url="http://x")
    (tmp_path / "logger").mkdir()
    way = Way(tmp_path, "a", target, {}, lambda agent, words: said.append(words))
    path = ship_cursor.path_of(tmp_path, "a", target)
    cursor = Cursor(inode=1, offset=30, size=1030)
    ship_cursor.save(path, cursor)
    way = Way(tmp_path, "a", target, {}, lambda agent, words: said.append(words))
    assert all_of(way, Taken()) == text(0, 30).splitlines()
    assert said == ["lines were deleted before they were shipped: at least 1000 bytes"]
    assert ship_cursor.load(path).lost_bytes == 1000
    (home.agent_logs("a") / "log.2").unlink()
    assert all_of(Way(tmp_path, "a", target, {}, lambda agent, words: said.append(words)), Taken()) == []
    assert len(said) == 1


def test_what_a_server_will_never_take_is_counted_and_passed_over(tmp_path: Path) -> None:
    home_with(tmp_path, text(0, 10))
    (tmp_path / "logger").mkdir()
    said: list[str] = []
    target = Shipping(kind="loki", url="http://x")
    way = Way(tmp_path, "a", target, {}, lambda agent, words: said.append(words))
    assert all_of(way, Taken(refuse=True)) == []
    assert said == ["10 lines were refused by the log server: HTTP 400"]
    assert ship_cursor.load(ship_cursor.path_of(tmp_path, "a", target)).refused == 10


def test_no_secret_is_in_what_a_failure_says(server: LogServer) -> None:
    server.answers = [503]
    sender = Sender(Shipping(kind="loki", url=server.url, headers={"X-Key": "geheim"}), "h")
    with pytest.raises(OSError) as raised:
        sender.send("a", {}, [])
    assert "geheim" not in str(raised.value)
