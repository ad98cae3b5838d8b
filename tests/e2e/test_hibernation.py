"""Agents that sleep: a real HTTP server is frozen or stopped when it is idle, and answers the request that wakes it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness import idle_server
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome

Row = dict[str, Any]


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    held = KeeperHome()
    try:
        yield held
    finally:
        held.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def server(home: KeeperHome, port: int, *words: str, action: str = "freeze", **more: Any) -> Row:
    script = home.directory / "idle_server.py"
    script.write_text(Path(idle_server.__file__).read_text())
    health = {
        "http": {"url": f"http://127.0.0.1:{port}/health"},
        "interval_s": 0.3,
        "retries": 1,
        "start_period_s": 30.0,
    }
    return home.spec(
        "bot", sys.executable, str(script), str(port), *words,
        idle={"after_s": 1.0, "action": action}, health=health | more.pop("health", {}), **more,
    )  # fmt: skip


def ask(port: int, path: str = "/") -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return str(answer.read().decode()).split()


def events(home: KeeperHome, kind: str) -> list[Row]:
    return [event for event in home.events() if event["kind"] == kind]


def wait_asleep(home: KeeperHome, how: str) -> Row:
    return home.wait_row("bot", asleep=how)


def test_an_idle_agent_is_frozen_and_answers_the_very_request_that_wakes_it(home: KeeperHome) -> None:
    port = free_port()
    home.up(server(home, port, "idle", health={"beat_s": 1.0}))
    row = wait_asleep(home, "frozen")
    pid, count, _ = ask(port)
    assert int(pid) == row["pid"]
    assert int(count) > 1
    wait_until(lambda: events(home, "density.awake"), "its waking in the ledger")
    wait_asleep(home, "frozen")
    assert home.row("bot")["phase"] == "healthy"
    assert home.row("bot")["restarts"] == 0
    assert home.incidents() == []


def test_a_stopped_agent_is_started_by_its_first_caller_who_is_answered_after_the_start(home: KeeperHome) -> None:
    port = free_port()
    home.up(server(home, port, "idle", action="stop"))
    row = wait_asleep(home, "stopped")
    home.wait_row("bot", phase="hibernating")
    body = os.urandom(300_000)  # more than a socket holds: it must not be cut where the agent was not there yet
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", data=body)
    with urllib.request.urlopen(request, timeout=60) as answer:
        pid, length = str(answer.read().decode()).split()
    assert int(length) == len(body)
    assert int(pid) != row["pid"]
    home.wait_row("bot", phase="healthy", asleep="")
    assert home.row("bot")["wake_s"] > 0
    assert home.incidents() == []
    wait_asleep(home, "stopped")


def test_sleepers_outlive_the_keeper(home: KeeperHome) -> None:
    port = free_port()
    home.up(server(home, port, "idle"))
    row = wait_asleep(home, "frozen")
    former = home.process("keeper")["pid"]
    os.kill(former, signal.SIGKILL)
    home.wait_back("keeper", former)
    assert wait_asleep(home, "frozen")["pid"] == row["pid"]
    assert ask(port)[0] == str(row["pid"])
    home.put(server(home, port, "idle", action="stop"))
    home.wait_row("bot", asleep="stopped", phase="hibernating")
    former = home.process("keeper")["pid"]
    os.kill(former, signal.SIGKILL)
    home.wait_back("keeper", former)
    wait_asleep(home, "stopped")
    assert ask(port)[1]
    assert home.incidents() == []
