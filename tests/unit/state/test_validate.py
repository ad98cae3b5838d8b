"""Damage that is certain is found, as the agent's user and in bounded time; what is only odd is no fault."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.state.checks import validate
from holdfast.state.checks.validate import Kind, Validator
from holdfast.state.restore import asides

JSON = Validator(kind=Kind.JSON, path="*.json")


def database(path: Path, *, wal: bool = False) -> Path:
    with closing(sqlite3.connect(path)) as base:
        if wal:
            base.execute("pragma journal_mode=wal")
        base.execute("create table t (x text not null)")
        base.executemany("insert into t values (?)", [("word " * 50,) for _ in range(500)])
        base.commit()
    return path


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = os.urandom(4096)
    path.write_bytes(data)


def test_whole_databases_and_files_have_no_faults(tmp_path: Path) -> None:
    database(tmp_path / "a.db")
    database(tmp_path / "b.sqlite", wal=True)
    (tmp_path / "sub").mkdir()
    database(tmp_path / "sub" / "no-ending")
    (tmp_path / "x.json").write_text('{"a": [1, 2]}')
    (tmp_path / "not.db").write_text("text")
    found = validate.examine([str(tmp_path)], [*validate.DATABASES, JSON])
    assert (found.faults, found.unchecked, found.looked) == ([], [], 4)
    assert sorted(os.listdir(tmp_path)) == ["a.db", "b.sqlite", "not.db", "sub", "x.json"], (
        "nothing was made beside them"
    )


def test_a_damaged_page_is_a_fault(tmp_path: Path) -> None:
    damage(database(tmp_path / "a.db"))
    (fault,) = validate.check([str(tmp_path)])
    assert (fault.path, fault.kind) == (str(tmp_path / "a.db"), Kind.SQLITE)
    assert fault.reason


def test_a_database_that_was_cut_off_is_a_fault_also_as_a_single_path(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db")
    os.truncate(path, 9_000)
    assert [fault.path for fault in validate.check([str(path)])] == [str(path)]


def test_changes_still_in_a_write_ahead_log_count(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", wal=True)
    ends_at_once = "import os, sqlite3, sys; b = sqlite3.connect(sys.argv[1]); b.execute('delete from t'); b.commit()"
    ends_at_once += "; os._exit(0)"
    subprocess.run([sys.executable, "-c", ends_at_once, str(path)], check=True)
    assert Path(f"{path}-wal").stat().st_size
    found = validate.examine([str(tmp_path)])
    assert (found.faults, found.unchecked, found.looked) == ([], [], 1)


def test_an_unfinished_change_is_left_to_its_program(tmp_path: Path) -> None:
    damage(database(tmp_path / "a.db"))
    (tmp_path / "a.db-journal").write_bytes(b"x" * 600)
    found = validate.examine([str(tmp_path)])
    assert found.faults == []
    assert "was not finished" in found.unchecked[0]


@pytest.mark.parametrize(
    ("kind", "content", "good"),
    [
        (Kind.JSON, b'{"a": 1}', True),
        (Kind.JSON, b'\xef\xbb\xbf{"a": 1}', True),
        (Kind.JSON, b'{"a": 1', False),
        (Kind.JSON, b"", False),
        (Kind.JSON, b'"\xff"', False),
        (Kind.JSON, b"[" * 100_000, True),
        (Kind.JSON_LINES, b'{"a": 1}\n{"b": 2}\n', True),
        (Kind.JSON_LINES, b'{"a": 1}\n{"b"', True),
        (Kind.JSON_LINES, b'{"a": 1\n{"b": 2}\n', False),
        (Kind.JSON_LINES, b"", True),
        (Kind.PRESENT, b"x", True),
        (Kind.PRESENT, b"", False),
    ],
)
def test_what_a_recipe_asks_of_a_file(tmp_path: Path, kind: Kind, content: bytes, good: bool) -> None:
    (tmp_path / "some.file").write_bytes(content)
    faults = validate.check([str(tmp_path)], [Validator(kind=kind, path="some.*")])
    assert (faults == []) is good


def test_a_file_that_must_be_there_and_is_not_is_a_fault(tmp_path: Path) -> None:
    (fault,) = validate.check([str(tmp_path)], [Validator(kind=Kind.PRESENT, path="/config.json")])
    assert fault.kind is Kind.PRESENT


def test_links_and_trees_of_restores_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("{")
    (tmp_path / "x.json").symlink_to("real")
    kept = tmp_path / asides.before("data", "0123456789ab")
    kept.mkdir()
    (kept / "y.json").write_text("{")
    os.mkfifo(tmp_path / "z.json")
    assert validate.examine([str(tmp_path)], [JSON]).looked == 0


def test_what_takes_too_long_is_unchecked(tmp_path: Path) -> None:
    damage(database(tmp_path / "a.db"))
    found = validate.examine([str(tmp_path)], timeout_s=0.0)
    assert found.faults == []
    assert "not done in time" in found.unchecked[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another user")
def test_files_that_the_agent_may_not_read_are_unchecked_and_no_fault(tmp_path: Path) -> None:
    from holdfast.state.model import Rights

    (tmp_path / "x.json").write_text("{")
    (tmp_path / "x.json").chmod(0o600)
    found = validate.examine([str(tmp_path / "x.json")], [JSON], rights=Rights(uid=29_871, gid=29_871))
    assert found.faults == []
