"""The keeper's store on real files: a checkpoint, never a reason to stop."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from holdfast.keeper.store import Store


def stored(path: Path) -> Store:
    store = Store(path)
    store.put("agent", "one", b"1")
    store.put("meta", "init_seq", b"7")
    assert store.flush()
    return store


def test_what_was_flushed_is_loaded(tmp_path: Path) -> None:
    stored(tmp_path / "keeper.db").close()
    assert Store(tmp_path / "keeper.db").load() == {("agent", "one"): b"1", ("meta", "init_seq"): b"7"}


def test_none_removes_an_item(tmp_path: Path) -> None:
    store = stored(tmp_path / "keeper.db")
    store.put("agent", "one", None)
    store.close()
    assert Store(tmp_path / "keeper.db").load() == {("meta", "init_seq"): b"7"}


def test_there_is_nothing_to_load_at_the_first_start(tmp_path: Path) -> None:
    assert Store(tmp_path / "keeper.db").load() is None


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    stored(tmp_path / "keeper.db")
    assert (tmp_path / "keeper.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_set_aside_or_begun(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keeper.db"
    path.write_bytes(content)
    store = Store(path)
    assert not store.load()
    assert bool(store.set_aside) == bool(content)
    store.put("agent", "one", b"1")
    assert store.flush()
    store.close()
    assert Store(path).load() == {("agent", "one"): b"1"}


def test_a_changed_body_is_found_by_its_sum(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    stored(path).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE item SET body = ? WHERE kind = 'agent'", (b"2",))
    store = Store(path)
    assert store.load() is None
    assert "does not match its sum" in store.set_aside[0].reason
    assert Path(store.set_aside[0].aside).exists()


def test_a_database_locked_by_somebody_else_does_not_stop_the_start(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    stored(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    store = Store(path)
    assert store.load() is None
    store.put("agent", "one", b"1")
    assert store.flush()
    other.close()


def test_a_file_that_vanished_is_written_anew_from_memory(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    store = stored(path)
    store.everything = lambda: {("agent", "one"): b"1", ("agent", "two"): b"2"}
    for name in os.listdir(tmp_path):
        (tmp_path / name).unlink()
    store.put("agent", "two", b"3")
    assert store.flush()
    store.close()
    assert Store(path).load() == {("agent", "one"): b"1", ("agent", "two"): b"3"}


def test_changes_wait_while_the_directory_is_gone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    store = stored(home / "keeper.db")
    store.everything = lambda: {("agent", "one"): b"1"}
    home.rename(tmp_path / "elsewhere")
    store.put("agent", "two", b"2")
    assert not store.flush()
    assert store.paused
    home.mkdir()
    assert store.flush()
    assert not store.paused
    store.close()
    assert Store(home / "keeper.db").load() == {("agent", "one"): b"1", ("agent", "two"): b"2"}


def test_asides_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "keeper.db"
    for number in range(30):
        (tmp_path / f"keeper.db.corrupt-{number:03}").write_bytes(b"")
    path.write_bytes(b"x" * 4096)
    Store(path).load()
    assert len(list(tmp_path.glob("keeper.db.corrupt-*"))) <= 10


def test_an_outdated_file_is_written_whole_and_forgets_what_is_gone(tmp_path: Path) -> None:
    """After a replay the file knows less than memory, though nothing in memory is marked as changed."""
    stored(tmp_path / "keeper.db").close()
    store = Store(tmp_path / "keeper.db")
    store.load()
    store.everything = lambda: {("agent", "two"): b"2", ("meta", "fleet"): b"new"}
    store.outdated = True
    store.put("meta", "ledger_head", b"9")
    assert store.flush()
    assert not store.outdated
    store.close()
    assert Store(tmp_path / "keeper.db").load() == {
        ("agent", "two"): b"2",
        ("meta", "fleet"): b"new",
        ("meta", "ledger_head"): b"9",
    }
