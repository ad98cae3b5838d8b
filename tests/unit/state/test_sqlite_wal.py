"""What a write-ahead log holds that is committed, by the log alone and by its index."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from holdfast.state.databases import sqlite_wal
from tests.harness.sql_process import SqlProcess


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A log with three commits, whose writer was killed."""
    path = tmp_path / "a.db"
    with SqlProcess(path) as sql:
        sql.run("PRAGMA page_size=1024", "PRAGMA journal_mode=wal", "PRAGMA wal_autocheckpoint=0")
        sql.run("CREATE TABLE t(a, b)", "INSERT INTO t VALUES(1, randomblob(5000))", "UPDATE t SET a=2")
    return path


def _open(path: Path, suffix: str) -> int:
    return os.open(f"{path}{suffix}", os.O_RDWR)


def _scan(path: Path) -> sqlite_wal.Log:
    fd = _open(path, "-wal")
    try:
        log = sqlite_wal.scan(fd)
        assert log is not None
        return log
    finally:
        os.close(fd)


def _frames(path: Path) -> int:
    return (os.path.getsize(f"{path}-wal") - 32) // (1024 + 24)


def test_the_log_and_its_index_tell_the_same(made: Path) -> None:
    log = _scan(made)
    index = _open(made, "-shm")
    now = sqlite_wal.sample(index)
    assert now is not None
    assert (log.page_size, log.salts, log.frames, log.pages) == (now.page_size, now.salts, now.frames, now.pages)
    numbers = sqlite_wal.page_numbers(index, now)
    assert numbers is not None
    assert sqlite_wal.newest(numbers, now.page_size) == log.newest
    log_fd = _open(made, "-wal")
    assert sqlite_wal.seal(log_fd, 1024, now.frames) == log.seal != b""
    os.close(index)
    os.close(log_fd)


def test_what_was_not_committed_is_not_in_it(tmp_path: Path) -> None:
    with SqlProcess(tmp_path / "a.db") as sql:
        sql.run("PRAGMA page_size=1024", "PRAGMA journal_mode=wal", "PRAGMA cache_size=5", "CREATE TABLE t(a, b)")
        committed = _scan(tmp_path / "a.db").frames
        sql.run("BEGIN", *["INSERT INTO t VALUES(1, randomblob(900))"] * 60)
        assert _frames(tmp_path / "a.db") > committed  # it had to write before the end
        assert _scan(tmp_path / "a.db").frames == committed


@pytest.mark.parametrize("where", ["salt", "content", "checksum", "cut"])
def test_a_frame_that_is_damaged_ends_the_log_before_it(made: Path, where: str) -> None:
    whole = _scan(made)
    last = 32 + (whole.frames - 1) * (1024 + 24)
    fd = _open(made, "-wal")
    if where == "cut":
        os.ftruncate(fd, last + 500)
    else:
        os.pwrite(fd, b"\xff\x00\xff", last + {"salt": 8, "content": 300, "checksum": 17}[where])
    os.close(fd)
    assert 0 < _scan(made).frames < whole.frames


def test_checksums_of_the_other_byte_order_are_understood(made: Path) -> None:
    whole = _scan(made)
    data = bytearray(Path(f"{made}-wal").read_bytes())
    big = not struct.unpack(">I", data[:4])[0] & 1
    data[3] ^= 1
    running = sqlite_wal.checksum(bytes(data[:24]), (0, 0), big)
    struct.pack_into(">II", data, 24, *running)
    for start in range(32, 32 + whole.frames * 1048, 1048):
        running = sqlite_wal.checksum(bytes(data[start : start + 8]), running, big)
        running = sqlite_wal.checksum(bytes(data[start + 24 : start + 1048]), running, big)
        struct.pack_into(">II", data, start + 16, *running)
    Path(f"{made}-wal").write_bytes(data)
    assert _scan(made)[:5] == whole[:5]


def test_the_index_of_a_long_log_goes_over_several_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with SqlProcess(path) as sql:
        sql.run("PRAGMA page_size=512", "PRAGMA journal_mode=wal", "PRAGMA wal_autocheckpoint=0", "CREATE TABLE t(b)")
        sql.run("INSERT INTO t VALUES(randomblob(4500000))", "INSERT INTO t VALUES(1)")
        index = _open(path, "-shm")
        now = sqlite_wal.sample(index)
        assert now is not None
        assert now.frames > 4062 + 4096
        numbers = sqlite_wal.page_numbers(index, now)
        os.close(index)
        assert numbers is not None
        log = _open(path, "-wal")
        for frame in (1, 4062, 4063, 8158, 8159, now.frames):
            head = os.pread(log, 24, 32 + (frame - 1) * 536)
            assert sqlite_wal.is_frame(head, numbers[frame - 1], now.salts)
        os.close(log)


@pytest.mark.parametrize("damage", ["copies differ", "not ready", "short", "checksum"])
def test_an_index_that_is_not_whole_is_not_believed(made: Path, damage: str) -> None:
    data = bytearray(Path(f"{made}-shm").read_bytes())
    if damage == "short":
        data = data[:90]
    else:
        offset = {"copies differ": 16, "not ready": 12, "checksum": 20}[damage]
        data[offset] ^= 1
        if damage != "copies differ":
            data[48 + offset] ^= 1
    Path(f"{made}-shm").write_bytes(data)
    index = _open(made, "-shm")
    assert sqlite_wal.sample(index) is None
    os.close(index)


def test_no_log_is_no_log(tmp_path: Path) -> None:
    for content in (b"", b"x" * 31, b"x" * 4000):
        (tmp_path / "a.db-wal").write_bytes(content)
        fd = _open(tmp_path / "a.db", "-wal")
        assert sqlite_wal.scan(fd) is None
        os.close(fd)
