"""The helper that holds a database: what it holds, whose it is, and that it goes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from holdfast.state.databases import guard
from holdfast.state.databases.guard import Holding, Refused
from holdfast.state.model import Rights
from tests.harness.sql_process import SqlProcess

_NOBODY = 65_534


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _hold(path: Path, holding: Holding, rights: Rights | None = None) -> guard.Guard:
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        return guard.start(fd, path.name.encode(), _identity(path), rights, holding)
    finally:
        os.close(fd)


def _made(path: Path, journal: str) -> SqlProcess:
    sql = SqlProcess(path)
    sql.run(f"PRAGMA journal_mode={journal}", "CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
    return sql


def test_a_transaction_keeps_the_log_and_lets_writers_go_on(tmp_path: Path) -> None:
    with _made(tmp_path / "a.db", "wal") as sql:
        held = _hold(tmp_path / "a.db", Holding.TRANSACTION)
        sql.run("INSERT INTO t VALUES(2)", "PRAGMA busy_timeout=1")
        assert sql.run("PRAGMA wal_checkpoint(truncate)")[0][0] == 1  # busy: it may not begin anew
        assert held.holds()
        held.close()
        assert sql.run("PRAGMA wal_checkpoint(truncate)")[0][0] == 0


def test_a_lock_keeps_writers_from_the_file_until_it_is_closed(tmp_path: Path) -> None:
    with _made(tmp_path / "a.db", "delete") as sql:
        held = _hold(tmp_path / "a.db", Holding.LOCK)
        sql.run("PRAGMA busy_timeout=1")
        with pytest.raises(AssertionError, match="locked"):
            sql.run("INSERT INTO t VALUES(2)")
        held.close()
        held.close()
        sql.run("INSERT INTO t VALUES(2)")


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_database_that_somebody_holds_for_himself_alone_is_refused_as_busy(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "a.db"
    with SqlProcess(path) as sql:
        sql.run("PRAGMA locking_mode=exclusive", f"PRAGMA journal_mode={journal}", "CREATE TABLE t(a)")
        with pytest.raises(Refused) as refused:
            _hold(path, Holding.TRANSACTION if journal == "wal" else Holding.LOCK)
        assert refused.value.busy


@pytest.mark.parametrize("holding", list(Holding))
def test_another_file_in_its_place_is_refused(tmp_path: Path, holding: Holding) -> None:
    _made(tmp_path / "a.db", "delete").kill()
    _made(tmp_path / "b.db", "delete").kill()
    fd = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(Refused, match="another file"):
        guard.start(fd, b"a.db", _identity(tmp_path / "b.db"), None, holding)
    os.unlink(tmp_path / "a.db")
    os.symlink("b.db", tmp_path / "a.db")
    with pytest.raises(Refused):
        guard.start(fd, b"a.db", (1, 1), None, holding)
    os.close(fd)


def test_a_guard_that_was_killed_no_longer_holds(tmp_path: Path) -> None:
    with _made(tmp_path / "a.db", "wal"):
        held = _hold(tmp_path / "a.db", Holding.TRANSACTION)
        os.kill(held.pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while held.holds():
            assert time.monotonic() < deadline
        held.close()


def test_a_guard_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    with _made(tmp_path / "a.db", "wal") as sql:
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            _hold(tmp_path / "a.db", Holding.TRANSACTION)
            os.write(tell, b"x")
            time.sleep(60)
            os._exit(0)
        assert os.read(told, 1) == b"x"
        sql.run("INSERT INTO t VALUES(2)", "PRAGMA busy_timeout=1")
        assert sql.run("PRAGMA wal_checkpoint(truncate)")[0][0] == 1
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        deadline = time.monotonic() + 60
        while sql.run("PRAGMA wal_checkpoint(truncate)")[0][0]:
            assert time.monotonic() < deadline
        os.close(told)
        os.close(tell)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")
def test_it_is_the_agent_s_user_who_holds_and_nothing_is_root_s(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, _NOBODY, _NOBODY)
    for parent in (home, *home.parents):
        if parent.stat().st_mode & 0o005 != 0o005:
            os.chmod(parent, parent.stat().st_mode | 0o055)
    with SqlProcess(home / "a.db", user=_NOBODY) as sql:
        sql.run("PRAGMA journal_mode=wal", "CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        held = _hold(home / "a.db", Holding.TRANSACTION, Rights(uid=_NOBODY, gid=_NOBODY))
        told = Path(f"/proc/{held.pid}/status").read_text()
        assert f"Uid:\t{_NOBODY}\t{_NOBODY}\t{_NOBODY}\t{_NOBODY}" in told
        assert "CapEff:\t0000000000000000" in told
        assert Path(f"/proc/{held.pid}/mem").stat().st_uid == 0  # its user may not look into what it was forked from
        held.close()
    os.unlink(home / "a.db-shm")  # as after a crash: whoever opens it makes a new one
    held = _hold(home / "a.db", Holding.TRANSACTION, Rights(uid=_NOBODY, gid=_NOBODY))
    held.close()
    assert {path.stat().st_uid for path in home.iterdir()} == {_NOBODY}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")
def test_what_the_agent_may_not_open_is_refused(tmp_path: Path) -> None:
    _made(tmp_path / "a.db", "delete").kill()
    os.chmod(tmp_path / "a.db", 0o600)
    for holding in Holding:
        with pytest.raises(Refused):
            _hold(tmp_path / "a.db", holding, Rights(uid=_NOBODY, gid=_NOBODY))
