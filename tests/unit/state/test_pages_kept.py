"""A database that must be read anew costs what changed in it, and is whole where the last snapshot is lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.state.store import names
from tests.harness.captures import Home

ROWS = 4_000  # of a thousand bytes: several extents


@pytest.fixture
def work(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    with closing(sqlite3.connect(work / "state.db")) as link:
        link.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, fill BLOB)")
        link.executemany("INSERT INTO t VALUES (?, randomblob(1000))", ((n,) for n in range(ROWS)))
        link.commit()
    return work


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as link:
        link.execute(statement)
        link.commit()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE t SET fill = randomblob(1000) WHERE n = 2000",
        f"INSERT INTO t VALUES ({ROWS + 1}, randomblob(1000))",
        f"DELETE FROM t WHERE n = {ROWS - 1}",
    ],
)
def test_a_file_that_was_written_is_read_whole_and_stored_where_it_differs(
    work: Path, tmp_path: Path, statement: str
) -> None:
    home = Home(tmp_path / "home")
    home.snapshot(work)
    change(work / "state.db", statement)
    manifest = home.snapshot(work)
    assert home.content(manifest, "state.db") == (work / "state.db").read_bytes()
    assert manifest.bytes_new < 60_000


def test_it_grows_and_shrinks_by_many_pages(work: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.snapshot(work)
    for statement in (
        f"INSERT INTO t SELECT n + {ROWS}, fill FROM t",
        f"DELETE FROM t WHERE n > {ROWS // 2}",
        "VACUUM",
    ):
        change(work / "state.db", statement)
        assert home.content(home.snapshot(work), "state.db") == (work / "state.db").read_bytes()


def test_what_is_lost_of_the_last_snapshot_is_stored_anew(work: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    (work / "note").write_text("still the same\n")
    home.snapshot(work)
    for pack in home.repository.packs():
        home.repository.store.delete(names.pack_object(pack.name))
    change(work / "state.db", "UPDATE t SET fill = randomblob(1000) WHERE n = 1")
    manifest = home.snapshot(work)
    assert home.content(manifest, "state.db") == (work / "state.db").read_bytes()
    assert home.content(manifest, "note") == b"still the same\n"


def test_what_is_lost_of_a_database_of_which_a_little_changed_is_stored_anew(work: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    shell = "import sqlite3, sys\nlink = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
    shell += "for line in sys.stdin:\n    link.execute(line)\n    print('done', flush=True)\n"
    argv = [sys.executable, "-c", shell, str(work / "state.db")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for statement in ("PRAGMA journal_mode=WAL", "UPDATE t SET fill = randomblob(1000) WHERE n = 1"):
            print(statement, file=process.stdin, flush=True)
            assert process.stdout.readline()
        home.snapshot(work)
        first = [pack.name for pack in home.repository.packs()]
        (work / "note").write_text("so that the tree is another one")
        home.snapshot(work)
        for pack in first:
            home.repository.store.delete(names.pack_object(pack))
        print("UPDATE t SET fill = randomblob(1000) WHERE n = 2", file=process.stdin, flush=True)
        assert process.stdout.readline()
        manifest = home.snapshot(work)
        process.stdin.close()
    assert len(home.content(manifest, "state.db")) == (work / "state.db").stat().st_size
