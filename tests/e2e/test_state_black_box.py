"""From outside: an agent that counts in a file and in SQLite while it is snapshotted; what comes back is of then.

HOLDFAST_BLACK_BOX_SNAPSHOTS says how many snapshots are taken (10).
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome
from tests.harness.snapshot_home import Row, home_with, take

SNAPSHOTS = int(os.environ.get("HOLDFAST_BLACK_BOX_SNAPSHOTS", "10"))
# `mode` wal or delete: SQLite's journal. Each count is one transaction of three statements, then a file.
AGENT = """
import os, sqlite3, sys, time
where, mode = sys.argv[1:]
base = sqlite3.connect(where + "/base.db", isolation_level=None, timeout=60.0)
base.execute("PRAGMA journal_mode=" + mode)
base.execute("PRAGMA synchronous=NORMAL")
base.execute("CREATE TABLE IF NOT EXISTS counter (n INTEGER)")
base.execute("CREATE TABLE IF NOT EXISTS debit (n INTEGER PRIMARY KEY, pad BLOB)")
base.execute("CREATE TABLE IF NOT EXISTS credit (n INTEGER PRIMARY KEY)")
if not base.execute("SELECT count(*) FROM counter").fetchone()[0]:
    base.execute("INSERT INTO counter VALUES (0)")
n = base.execute("SELECT n FROM counter").fetchone()[0]
while True:
    n += 1
    base.execute("BEGIN IMMEDIATE")
    base.execute("UPDATE counter SET n = ?", (n,))
    base.execute("INSERT INTO debit VALUES (?, randomblob(500))", (n,))
    base.execute("INSERT INTO credit VALUES (?)", (n,))
    base.execute("COMMIT")
    with open(where + "/count.new", "w") as file:
        file.write(str(n))
    os.replace(where + "/count.new", where + "/count")
    time.sleep(0.002)
"""


def agent(home: KeeperHome, name: str, mode: str) -> Row:
    where = home.directory / f"state-{name}"
    where.mkdir()
    spec: Row = home.spec(name, sys.executable, "-c", AGENT, str(where), mode)
    spec["state"] = {"paths": [str(where)], "every_s": 3600.0}
    return spec


def counted(where: Path) -> tuple[int, int]:
    """In the file, and in the database as its own programs read it, which must be whole."""
    with closing(sqlite3.connect(where / "base.db", timeout=60.0)) as base:
        found = base.execute("SELECT n FROM counter").fetchone()[0]
    return int((where / "count").read_text()), found


def check(where: Path) -> tuple[int, int]:
    """What was restored: whole by SQLite's own check and by the agent's invariant."""
    assert [path.name for path in where.glob("base.db*")] == ["base.db"]
    with closing(sqlite3.connect(where / "base.db")) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found, rows = base.execute("SELECT (SELECT n FROM counter), (SELECT count(*) FROM debit)").fetchone()
        assert found == rows
        assert base.execute("SELECT count(*), max(n) FROM credit").fetchone() == (found, found)
    return int((where / "count").read_text()), found


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_what_is_restored_is_what_was_while_that_snapshot_was_taken(mode: str, tmp_path: Path) -> None:
    home = home_with()
    try:
        spec = agent(home, "one", mode)
        live = Path(spec["state"]["paths"][0])
        home.up(spec)
        wait_until((live / "count").exists, "its first count")
        for number in range(SNAPSHOTS):
            (live / f"before-{number}").write_text("there")
            before = counted(live)
            taken = take(home, "one", f"number {number}")["result"]["snapshot"]
            after = counted(live)
            (live / f"after-{number}").write_text("not there")
            to = tmp_path / f"look-{number}"
            body = {"snapshot": taken["id"], "to": str(to)}
            assert "result" in list(home.client.messages("POST", "/v1/agents/one/restore", body))[-1]
            restored = to / live.name
            for low, found, high in zip(before, check(restored), after, strict=True):
                assert low <= found <= high
            assert (restored / f"before-{number}").read_text() == "there"
            assert not (restored / f"after-{number}").exists()
            assert not [path for path in taken["fuzzy"] if "base.db" in path]
        assert home.row("one")["instance"] == 1
    finally:
        home.close()
