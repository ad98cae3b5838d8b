"""Versions of state as a person meets them: a real home, a real agent that counts, the command line alone."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from typing import Any

import pytest

from tests.e2e.cli_home import CliHome, wait_until
from tests.e2e.cli_home import home as home

COUNTER = """
import os, sqlite3, time
os.makedirs("data", exist_ok=True)
database = sqlite3.connect("data/state.db", isolation_level=None)
database.execute("pragma journal_mode=wal")
database.execute("create table if not exists counts(n integer primary key)")
n = (database.execute("select max(n) from counts").fetchone()[0] or 0)
while True:
    n += 1
    database.execute("insert into counts values (?)", (n,))
    with open("data/count.new", "w") as file:
        file.write(str(n))
    os.rename("data/count.new", "data/count")
    time.sleep(0.01)
"""
FLEET = """
version: 1
agents:
  counter:
    command: [{python}, counter.py]
    {user}
    state: {{paths: [data], every: off, exclude: [count.new]}}
"""


@pytest.fixture
def counting(home: CliHome) -> CliHome:
    """A home whose agent counts in a file and in a database."""
    import sys

    (home.directory / "counter.py").write_text(COUNTER)
    home.write(FLEET.format(python=sys.executable, user="user: root" if os.getuid() == 0 else ""))
    done = home.run("up", "-d", "--wait", "--timeout", "60")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: _count(home) > 3, "an agent that counts")
    return home


def _count(home: CliHome) -> int:
    try:
        return int((home.directory / "data" / "count").read_text() or 0)
    except OSError:  # not there yet, or its directory changes places
        return 0


def _json(home: CliHome, *arguments: str) -> Any:
    done = home.run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _bytes(home: CliHome, *arguments: str) -> bytes:
    import subprocess

    from tests.e2e.cli_home import HOLDFAST

    return subprocess.run([*HOLDFAST, *arguments], env=home.environment, capture_output=True, check=True).stdout


def test_what_a_snapshot_holds_lies_between_before_and_after_and_can_be_read_again(counting: CliHome) -> None:
    home, data = counting, counting.directory / "data"
    (data / "marker").write_text("before")
    least = _count(home)
    taken = _json(home, "snapshot", "counter", "--label", "first")
    most = _count(home)
    (data / "marker").write_text("after")
    assert taken["taken"]
    listed = _json(home, "snapshots", "counter")["snapshots"]
    assert [(row["id"], row["cause"], row["label"]) for row in listed] == [(taken["id"], "manual", "first")]
    short = taken["id"][:8]
    seen = _json(home, "describe", "counter")["versions"]
    assert (seen["snapshots"], seen["newest"]["id"], seen["store"]) == (1, taken["id"], "")

    assert _bytes(home, "state", "cat", "counter", short, "marker") == b"before"
    assert least <= int(_bytes(home, "state", "cat", "counter", short, "count")) <= most + 1
    copy = home.directory / "copy.db"
    copy.write_bytes(_bytes(home, "state", "cat", "counter", short, "state.db"))
    database = sqlite3.connect(copy)
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    top, rows = database.execute("select max(n), count(*) from counts").fetchone()
    assert least <= top <= most + 1
    assert rows == top  # every count up to the last: no hole

    versions = _json(home, "state", "log", "counter", "marker")["versions"]
    assert [one["change"] for one in versions] == ["added"]
    changes = {os.path.basename(one["path"]): one for one in _json(home, "state", "diff", "counter", short)["changes"]}
    assert changes["marker"]["change"] == "changed"
    assert [row["cause"] for row in _json(home, "snapshots", "counter")["snapshots"]] == ["manual", "compare"]
    assert "state.db" in changes
    assert _json(home, "state", "du", "counter")["agents"]["counter"]["snapshots"] >= 1
    assert _json(home, "state", "verify", "counter", "--all")["faults"] == []


def test_what_is_deleted_comes_back(counting: CliHome) -> None:
    home = counting
    first = _json(home, "snapshot", "counter")["id"]
    assert home.run("state", "rm", "counter", first[:8]).returncode == 0
    assert _json(home, "snapshots", "counter")["snapshots"] == []
    assert _json(home, "undelete", "counter", first[:8])["id"] == first
    assert [row["id"] for row in _json(home, "snapshots", "counter")["snapshots"]] == [first]

    assert home.run("rm", "counter").returncode == 2  # there is nobody to ask
    gone = _json(home, "rm", "counter", "--yes")
    assert gone["snapshots"] >= 1
    assert home.agents() == {}
    assert (home.directory / "data" / "count").exists()
    assert [row["agent"] for row in _json(home, "undelete")["agents"]] == ["counter"]
    back = _json(home, "undelete", "counter")
    assert back["missing"] == []
    count = _count(home)
    wait_until(lambda: _count(home) > count, "the agent counts again")
    assert first in [row["id"] for row in _json(home, "snapshots", "counter")["snapshots"]]


def test_an_agent_declared_anew_after_its_removal_gets_its_former_snapshots_back(counting: CliHome) -> None:
    home = counting
    first = _json(home, "snapshot", "counter")["id"]
    _json(home, "rm", "counter", "--yes")
    assert home.run("up", "-d").returncode == 0
    pid = wait_until(lambda: home.agents().get("counter", {}).get("pid"), "the one declared anew")
    assert "holdfast undelete counter" in home.run("snapshots", "counter").stdout
    assert _json(home, "undelete", "counter")["was_there"] is True
    assert first in [row["id"] for row in _json(home, "snapshots", "counter")["snapshots"]]
    assert home.agents()["counter"]["pid"] == pid
    assert home.run("undelete", "counter").returncode == 4


def test_an_agent_removed_before_its_restore_had_proved_itself_is_restored_again(counting: CliHome) -> None:
    home = counting
    first = _json(home, "snapshot", "counter")["id"]
    for _ in range(2):
        assert _json(home, "restore", "counter", first, "--yes")["snapshot"] == first
        _json(home, "rm", "counter", "--yes")
    assert _json(home, "restore", "counter", first, "--yes")["phase"] == "healthy"
    (home.directory / "data" / "marker").write_text("mine")
    _json(home, "rm", "counter", "--yes")
    shutil.rmtree(home.directory / "data")
    assert _json(home, "undelete", "counter")["restored"]
    assert (home.directory / "data" / "marker").read_text() == "mine"


@pytest.mark.parametrize("words", [("undelete", "counter"), ("restore", "counter", "--yes")])
def test_an_agent_that_was_removed_and_whose_files_are_gone_is_back_with_them(
    counting: CliHome, words: tuple[str, ...]
) -> None:
    home = counting
    (home.directory / "data" / "marker").write_text("mine")
    _json(home, "rm", "counter", "--yes")
    count = _count(home)
    shutil.rmtree(home.directory / "data")
    assert _json(home, *words)["agent"] == "counter"
    wait_until(lambda: _count(home) > count, "it goes on where it was")
    assert (home.directory / "data" / "marker").read_text() == "mine"
    assert home.agents()["counter"]["phase"] in ("healthy", "starting", "recovering")


def test_mistakes_have_the_documented_exit_codes(counting: CliHome) -> None:
    home = counting
    assert home.run("snapshot", "nobody").returncode == 4
    assert home.run("restore", "counter", "--yes").returncode == 4  # there is no snapshot yet
    home.run("snapshot", "counter")
    assert home.run("restore", "counter").returncode == 2  # there is nobody to ask
    assert home.run("restore", "counter", "ffffffff", "--yes").returncode == 4
    assert home.run("restore", "counter", "--path", "no/such/file", "--dry-run").returncode == 4
    assert home.run("restore", "counter", "--path", "count", "--dry-run").returncode == 0
    assert home.run("restore", "counter", "--to", str(home.directory / "data" / "look")).returncode == 2
    assert not (home.directory / "data" / "look").exists()
    assert home.run("state", "cat", "counter", "newest", "no/such/file").returncode == 4
    assert home.run("state", "cat", "counter", "newest", "data").returncode == 4
