"""What a rollback journal puts back: the same as SQLite does."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from holdfast.state.databases import database, sqlite_journal
from tests.harness.sql_process import SqlProcess


def _crash(path: Path, page_size: int, *more: str) -> None:
    """A writer that is killed in a transaction, of which a part is in the file already."""
    with SqlProcess(path) as sql:
        sql.run(f"PRAGMA page_size={page_size}", "PRAGMA cache_size=5", "CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        sql.run("BEGIN", *[f"INSERT INTO t VALUES({row}, randomblob(700))" for row in range(80)], "COMMIT", *more)
        sql.run("BEGIN", "UPDATE t SET b=randomblob(700)", "DELETE FROM t WHERE a > 40", "INSERT INTO t VALUES(500, 1)")


def _taken(directory: Path, name: bytes = b"a.db") -> bytes:
    fd = os.open(directory, os.O_RDONLY)
    try:
        with database.capture(fd, name, None) as capture:
            data = b"".join(piece for piece in capture if not isinstance(piece, int))
            assert capture.fuzzy == ""
            return data
    finally:
        os.close(fd)


def _rows(path: Path) -> list[tuple[int, bytes]]:
    link = sqlite3.connect(path)
    assert link.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = link.execute("SELECT a, b FROM t ORDER BY a").fetchall()
    link.close()
    return rows


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
def test_a_hot_journal_is_put_back_as_sqlite_does(tmp_path: Path, page_size: int) -> None:
    _crash(tmp_path / "a.db", page_size)
    assert os.path.getsize(tmp_path / "a.db-journal") > 512
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    image = _taken(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before  # nothing was touched
    (tmp_path / "copy.db").write_bytes(image)
    ours = _rows(tmp_path / "copy.db")
    assert ours == _rows(tmp_path / "a.db")  # where SQLite puts it back
    assert len(ours) == 80


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
def test_a_journal_of_a_finished_transaction_puts_nothing_back(tmp_path: Path, mode: str) -> None:
    with SqlProcess(tmp_path / "a.db") as sql:
        sql.run(f"PRAGMA journal_mode={mode}", "CREATE TABLE t(a, b)", "INSERT INTO t VALUES(1, 2)")
        assert _taken(tmp_path) == (tmp_path / "a.db").read_bytes()


def test_a_living_writer_s_journal_puts_nothing_back_while_its_changes_are_not_in_the_file(tmp_path: Path) -> None:
    with SqlProcess(tmp_path / "a.db") as sql:
        sql.run("CREATE TABLE t(a, b)", "INSERT INTO t VALUES(1, 2)", "BEGIN", "UPDATE t SET b=3")
        assert (tmp_path / "a.db-journal").exists()
        assert _taken(tmp_path) == (tmp_path / "a.db").read_bytes()
        sql.run("COMMIT")


def test_a_journal_whose_leader_is_gone_puts_nothing_back(tmp_path: Path) -> None:
    _crash(tmp_path / "a.db", 1024)
    leader = os.fsencode(tmp_path / "leading-journal")
    with open(tmp_path / "a.db-journal", "ab") as file:
        tail = len(leader).to_bytes(4, "big") + sum(leader).to_bytes(4, "big") + sqlite_journal.MAGIC
        file.write((0x4000_0000 // 1024 + 1).to_bytes(4, "big") + leader + tail)
    changed = (tmp_path / "a.db").read_bytes()
    assert _taken(tmp_path) == changed
    (tmp_path / "leading-journal").write_bytes(b"")
    assert _taken(tmp_path) != changed


def test_a_record_that_is_damaged_ends_the_journal_before_it(tmp_path: Path) -> None:
    _crash(tmp_path / "a.db", 1024)
    fd = os.open(tmp_path / "a.db-journal", os.O_RDWR)
    whole = sqlite_journal.read(fd)
    assert whole is not None
    offsets = sorted(whole.offsets.values())
    os.pwrite(fd, b"\xff" * 400, offsets[3])
    cut = sqlite_journal.read(fd)
    os.close(fd)
    assert cut is not None
    assert sorted(cut.offsets.values()) == offsets[:3]


def test_a_journal_that_was_never_synced_puts_nothing_back(tmp_path: Path) -> None:
    shutil.copy("/dev/null", tmp_path / "j")
    head = sqlite_journal.MAGIC + b"".join(number.to_bytes(4, "big") for number in (0, 7, 10, 512, 1024))
    (tmp_path / "j").write_bytes(head.ljust(512, b"\0") + b"x" * 5000)
    fd = os.open(tmp_path / "j", os.O_RDONLY)
    undo = sqlite_journal.read(fd)
    os.close(fd)
    assert undo is not None
    assert (undo.offsets, undo.pages) == ({}, 10)
