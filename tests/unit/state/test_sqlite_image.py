"""The image of a database: what it is put together from, and that SQLite opens it."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path

import pytest

from holdfast.state.databases import database
from holdfast.state.databases.sqlite_image import PIECE_BYTES, Image, pieces_of
from holdfast.state.databases.sqlite_reuse import Trace
from tests.harness.sql_process import SqlProcess


def _taken(path: Path, before: bytes = b"", trace: Trace | None = None) -> tuple[bytes, Trace | None, int]:
    """(image, trace, pieces that were read)"""
    fd, image, read = os.open(path.parent, os.O_RDONLY), b"", 0
    try:
        with database.capture(fd, path.name.encode(), None, trace) as capture:
            for piece in capture:
                read += not isinstance(piece, int)
                image += before[len(image) : len(image) + piece * PIECE_BYTES] if isinstance(piece, int) else piece
            assert capture.fuzzy == ""
            assert len(image) == capture.size
            return image, capture.trace, read
    finally:
        os.close(fd)


def _opened(path: Path, image: bytes, statement: str) -> tuple[str, str, object]:
    path.write_bytes(image)
    link = sqlite3.connect(path)
    mode = link.execute("PRAGMA journal_mode").fetchone()[0]
    said = link.execute("PRAGMA integrity_check").fetchone()[0]
    link.execute("CREATE TABLE written_after(a)")
    found = link.execute(statement).fetchone()[0]
    link.close()
    return said, mode, found


@pytest.mark.parametrize("size", [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536])
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_it_opens_without_its_log_and_keeps_its_journal_mode(tmp_path: Path, size: int, journal: str) -> None:
    with SqlProcess(tmp_path / "a.db") as sql:
        sql.run(f"PRAGMA page_size={size}", f"PRAGMA journal_mode={journal}", "CREATE TABLE t(a, b)")
        sql.run(*["INSERT INTO t VALUES(1, randomblob(3000))"] * 30)
        image, _, _ = _taken(tmp_path / "a.db")
    assert image[18:20] == (b"\2\2" if journal == "wal" else b"\1\1")
    assert _opened(tmp_path / "copy.db", image, "SELECT sum(a) FROM t") == ("ok", journal, 30)


def test_a_database_that_became_smaller_is_cut(tmp_path: Path) -> None:
    with SqlProcess(tmp_path / "a.db") as sql:
        sql.run("PRAGMA journal_mode=wal", "CREATE TABLE t(a)", "INSERT INTO t VALUES(zeroblob(500000))")
        sql.run("PRAGMA wal_checkpoint(truncate)", "DELETE FROM t", "VACUUM")
        image, _, _ = _taken(tmp_path / "a.db")
    assert len(image) < 20_000 < (tmp_path / "a.db").stat().st_size
    assert _opened(tmp_path / "copy.db", image, "SELECT count(*) FROM t") == ("ok", "wal", 0)


def test_it_costs_what_was_written_since(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with SqlProcess(path) as sql:
        sql.run("PRAGMA journal_mode=wal", "CREATE TABLE t(a INTEGER PRIMARY KEY, b)", "BEGIN")
        sql.run(*[f"INSERT INTO t VALUES({row}, randomblob(4000))" for row in range(300)], "COMMIT")
        image, trace, read = _taken(path)
        assert read == -(-len(image) // PIECE_BYTES)
        sql.run("UPDATE t SET b=randomblob(4000) WHERE a=150")
        image, trace, read = _taken(path, image, trace)
        assert 1 <= read <= 6
        sql.run("PRAGMA wal_checkpoint(passive)")  # the file is another one, its content the same
        image, trace, read = _taken(path, image, trace)
        assert read == 0
        sql.run("INSERT INTO t VALUES(1000, randomblob(40000))")  # the log begins anew, and the database grows
        image, trace, _ = _taken(path, image, trace)
        again, trace, _ = _taken(path)
        assert again == image
        sql.run("DELETE FROM t WHERE a=1000", "PRAGMA incremental_vacuum")
        image, trace, _ = _taken(path, image, trace)
        assert image == _taken(path)[0]
    image_after, _, _ = _taken(path, image, trace)  # nobody has it open
    assert image_after == image


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_what_was_written_anew_with_the_same_content_is_known_by_its_sums(tmp_path: Path, journal: str) -> None:
    """Without any proof all is read, but only stretches that differ are cut into pieces; also when the size changes."""
    path, chance = tmp_path / "a.db", random.Random(7)
    with SqlProcess(path) as sql:
        sql.run(f"PRAGMA journal_mode={journal}", "CREATE TABLE t(a INTEGER PRIMARY KEY, b)", "BEGIN")
        sql.run(*[f"INSERT INTO t VALUES({row}, randomblob(4000))" for row in range(400)], "COMMIT")
        image, trace, read = _taken(path)
        reads = []
        for number in range(18):
            match number % 3:
                case 0:
                    sql.run(f"UPDATE t SET b=randomblob(4000) WHERE a={chance.randrange(400)}")
                case 1:
                    sql.run(f"REPLACE INTO t VALUES({400 + number}, randomblob({chance.randrange(90_000)}))")
                case _:
                    sql.run("DELETE FROM t WHERE a>=400", "VACUUM")
            if journal == "delete" and number % 5:  # as somebody does who copies it over
                path.write_bytes(path.read_bytes())
            if journal == "wal" and number % 4 == 0:
                sql.run("PRAGMA wal_checkpoint(restart)")
            image, trace, read = _taken(path, image, trace)
            assert image == _taken(path)[0]
            reads.append(read)
    assert min(reads) <= 24 < len(image) // PIECE_BYTES


def test_the_page_of_locks_is_passed_over(tmp_path: Path) -> None:
    """A database beyond 1 GiB, of which but a few pages exist: holes cost nothing."""
    path, size = tmp_path / "a", 65_536
    lock_page = 0x4000_0000 // size + 1
    with open(path, "wb") as file:
        file.truncate((lock_page + 2) * size)
    fd = os.open(path, os.O_RDWR)
    try:
        os.pwrite(fd, b"n" * size, lock_page * size)
        image = Image(fd, size, (lock_page + 2) * size)
        wanted = pieces_of([lock_page - 1, lock_page, lock_page + 1], size, image.pieces)
        found = [piece for piece in image.some(wanted) if isinstance(piece, bytes)]
    finally:
        os.close(fd)
    assert [piece[:1] for piece in found] == [b"\0"] * 16 + [b"n"] * 8
    assert sum(len(piece) for piece in found) == 3 * size


@pytest.mark.parametrize(
    ("size", "pages", "expected"),
    [
        (4096, [1, 2, 3], [0, 1]),
        (512, [16, 17], [0, 1]),
        (8192, [1, 5], [0, 4]),
        (65536, [2], [8, 9, 10, 11, 12, 13, 14, 15]),
        (65536, [3], [16, 17, 18, 19]),
        (4096, [1000], []),
    ],
)
def test_pieces_that_pages_lie_in(size: int, pages: list[int], expected: list[int]) -> None:
    assert pieces_of(pages, size, 20) == expected


@pytest.mark.parametrize("name", [b"na\xefve.db", b"a b?c#d%41&mode=rwc.db", b"-x.db", b"'q\".db"])
def test_any_name_is_a_name(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    with SqlProcess(path) as sql:
        sql.run("PRAGMA journal_mode=wal", "CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
        fd = os.open(tmp_path, os.O_RDONLY)
        with database.capture(fd, name, None) as capture:
            image = b"".join(piece for piece in capture if not isinstance(piece, int))
            assert capture.trace is not None
            assert capture.trace.frames > 0
        os.close(fd)
    assert _opened(tmp_path / "copy.db", image, "SELECT a FROM t") == ("ok", "wal", 1)


def test_a_file_that_only_looks_like_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\0" + b"\xee" * 5000)
    (tmp_path / "empty.db").write_bytes(b"")
    fd = os.open(tmp_path, os.O_RDONLY)
    for name in (b"a.db", b"empty.db"):
        with pytest.raises(database.NotADatabase):
            database.capture(fd, name, None)
    os.symlink("a.db", tmp_path / "link.db")
    os.mkfifo(tmp_path / "pipe.db")
    for name in (b"link.db", b"pipe.db", b"none.db"):
        with pytest.raises(OSError):
            database.capture(fd, name, None)
    os.close(fd)
