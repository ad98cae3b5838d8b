"""Agents that sleep: a real HTTP server is frozen or stopped when it is idle, and answers the request that wakes it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from tests.harness import idle_server
from tests.harness.init_home import PATIENCE_S, wait_until
from tests.harness.keeper_home import KeeperHome
from tests.harness.ports import free_port
from tests.harness.quick_keeper import QuickHome

Row = dict[str, Any]


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    held = QuickHome()  # nobody is put to sleep on a machine that is short of something
    try:
        yield held
    finally:
        held.close()


def server(home: KeeperHome, name: str, port: int, *words: str, **more: Any) -> Row:
    script = home.directory / "idle_server.py"
    script.write_text(Path(idle_server.__file__).read_text())
    probe = {"url": f"http://127.0.0.1:{port}/health"}
    health = {"http": probe, "interval_s": 0.3, "timeout_s": 20.0, "start_period_s": 90.0}
    return home.spec(
        name, sys.executable, str(script), str(port), *words, health=health | more.pop("health", {}), **more
    )


def ask(port: int, body: bytes | None = None) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=body, timeout=PATIENCE_S) as answer:
        return str(answer.read().decode()).split()


def test_idle_agents_sleep_through_a_kill_of_the_keeper_and_answer_the_very_request_that_wakes_them(
    home: KeeperHome,
) -> None:
    ice, off = free_port(), free_port()
    home.up(
        server(home, "ice", ice, "idle", idle={"after_s": 1.0, "action": "freeze"}, health={"beat_s": 20.0}),
        server(home, "off", off, idle={"after_s": 1.0, "action": "stop"}),  # says nothing: nobody talks to it
    )
    frozen = home.wait_row("ice", asleep="frozen")
    home.wait_row("off", asleep="stopped", phase="hibernating")
    former = home.process("keeper")["pid"]
    os.kill(former, signal.SIGKILL)
    home.wait_back("keeper", former)
    # Still, or again: on a slow machine init lets it go on meanwhile.
    assert home.wait_row("ice", asleep="frozen")["phase"] == "healthy"
    assert home.row("off")["phase"] == "hibernating"

    assert ask(ice)[0] == str(frozen["pid"])  # the same process
    body = os.urandom(300_000)  # more than a socket holds: it must not be cut where the agent was not there yet
    pid, length = ask(off, body)
    assert int(length) == len(body)
    home.wait_row("off", instance=2)
    spawned = [event for event in home.events(agent="off") if event["kind"] == "agent.spawned"]
    assert int(pid) == spawned[-1]["body"]["pid"]  # of the row it may be gone: idle again, it goes to sleep again
    wait_until(lambda: home.row("off")["wake_s"] and home.row("ice")["wake_s"], "how long they took to wake")
    for name in ("ice", "off"):
        wait_until(lambda name=name: "density.awake" in [e["kind"] for e in home.events(agent=name)], f"{name} is told")  # type: ignore[misc]
    assert [row["restarts"] for row in home.status()["agents"]] == [0, 0]
    assert home.incidents() == []


def checkpoint_head(home: KeeperHome, copy: Path) -> int:
    """The last record that the keeper's checkpoint stands for: the next keeper replays what follows. -1: not readable
    now. The keeper holds its database for itself, so a copy is read.
    """
    try:
        for end in ("", "-wal"):
            shutil.copy(f"{home.home.database}{end}", f"{copy}{end}")
        with contextlib.closing(sqlite3.connect(copy)) as base:
            (head,) = base.execute("SELECT body FROM item WHERE kind = 'meta' AND key = 'ledger_head'").fetchone()
    except (OSError, sqlite3.Error, TypeError):
        return -1
    return int(bytes(head).partition(b":")[0])


def test_the_next_keeper_knows_a_sleeper_also_when_others_changed_before_the_kill(
    home: KeeperHome, tmp_path: Path
) -> None:
    """Their checkpoint stands for the record of its falling asleep too, so that has to be in it."""
    home.up(server(home, "bot", free_port()), home.spec("other", "sleep", "1000"))

    def said(kind: str) -> int:
        return next((int(event["seq"]) for event in home.events(agent="bot") if event["kind"] == kind), 0)

    started = wait_until(lambda: said("density.started"), "a start that is over")
    wait_until(lambda: checkpoint_head(home, tmp_path / "copy") >= started, "a checkpoint of that")
    home.client.post("/v1/agents/bot/sleep", {"wait": True})
    slept = said("density.sleep")
    home.client.post("/v1/agents/other/restart", {"wait": True})
    wait_until(lambda: checkpoint_head(home, tmp_path / "copy") >= slept, "a checkpoint behind it")
    former = home.process("keeper")["pid"]
    os.kill(former, signal.SIGKILL)
    home.wait_back("keeper", former)

    def known() -> bool:  # or init let it go on meanwhile, and the new keeper said so
        told = [event["kind"] for event in home.events(agent="bot")]
        return home.row("bot")["asleep"] == "frozen" or "density.awake" in told

    assert wait_until(known, "it is known to sleep, or to have been let go on")


def test_a_stopped_sleeper_whose_definition_changed_wakes_and_is_called_on_its_new_port(home: KeeperHome) -> None:
    old, new = free_port(), free_port()
    home.up(server(home, "off", old, idle={"after_s": 1.0, "action": "stop"}))
    home.wait_row("off", asleep="stopped", phase="hibernating")
    home.put(server(home, "off", new, idle={"after_s": 3600.0, "action": "stop"}))
    row = home.wait_row("off", instance=2, phase="healthy")
    assert int(ask(new)[0]) == row["pid"]


def test_a_sleeper_is_woken_by_hand_and_by_whatever_is_done_with_it(home: KeeperHome) -> None:
    port = free_port()
    home.up(server(home, "bot", port))
    home.wait_row("bot", phase="healthy")

    def act(verb: str, wait: bool = True) -> Row:
        answer: Row = home.client.post(f"/v1/agents/bot/{verb}", {"wait": wait})
        return answer

    assert act("sleep")["asleep"] == "frozen"
    assert act("sleep")["asleep"] == "frozen"
    assert act("wake")["asleep"] == ""
    pid = int(ask(port)[0])
    act("sleep")
    act("start")
    assert home.row("bot")["asleep"] == ""
    act("sleep")
    assert act("restart")["phase"] == "healthy"
    assert int(ask(port)[0]) != pid
    act("sleep")
    assert act("stop")["phase"] == "stopped"
    with pytest.raises(HoldfastError) as refused:
        act("sleep")
    assert "does not run" in str(refused.value)
    assert not [event for event in home.events() if event["kind"] == "agent.exited" and "SIGKILL" in event["text"]]
    assert home.incidents() == []
