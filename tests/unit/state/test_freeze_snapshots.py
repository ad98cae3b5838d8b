"""Snapshots of an agent that stands still for them: its files are of one moment, and the moment is short."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.state.capture import freeze
from holdfast.state.capture.freeze import Signals, Watched
from holdfast.state.model import Consistency, Manifest
from tests.harness.captures import Home

# Counts in a file, then in another one, then in a database: none is ever ahead of the one before.
_AGENT = """
import os, sqlite3, sys
work = sys.argv[1]
one = os.open(f"{work}/1/one", os.O_CREAT | os.O_WRONLY, 0o644)
two = os.open(f"{work}/3/two", os.O_CREAT | os.O_WRONLY, 0o644)
base = sqlite3.connect(f"{work}/4.db", isolation_level=None)
base.execute("pragma journal_mode = " + sys.argv[2])
base.execute("pragma synchronous = off")
base.execute("create table if not exists t (n)")
base.execute("insert into t values (0)")
number = 0
while True:
    number += 1
    os.pwrite(one, b"%012d" % number, 0)
    os.pwrite(two, b"%012d" % number, 0)
    if number % 20 == 0:
        base.execute("update t set n = ?", (number,))
    if number == 40:
        print("begun", flush=True)
"""
_FLOOD = """
import os, sys
work, size = sys.argv[1], 1 << 20
while True:
    for number in range(100):
        with open(f"{work}/{number}", "wb") as file:
            file.write(os.urandom(4096) * (size // 4096))
        if number == 99:
            print("begun", flush=True)
"""


def _started(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    return process


@pytest.fixture(params=["wal", "delete"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    for name in ("1", "2", "3"):
        (tmp_path / "work" / name).mkdir(parents=True)
    for number in range(200):
        (tmp_path / "work" / "2" / str(number)).write_bytes(b"x" * number)
    process = _started(_AGENT, str(tmp_path / "work"), str(request.param))
    yield process
    process.kill()
    process.wait()


def _numbers(home: Home, manifest: Manifest, tmp_path: Path) -> tuple[int, int, int]:
    one, two = (int(home.content(manifest, path) or b"0") for path in ("1/one", "3/two"))
    copy = tmp_path / "copy.db"
    copy.write_bytes(home.content(manifest, "4.db"))
    base = sqlite3.connect(copy)
    (three,) = base.execute("select n from t").fetchone()
    assert base.execute("pragma integrity_check").fetchone() == ("ok",)
    base.close()
    return one, two, three


def _torn(numbers: tuple[int, int, int]) -> bool:
    one, two, three = numbers
    return not (two <= one <= two + 1 and three <= two < three + 21)


def _taken(home: Home, work: Path, agent: subprocess.Popen[bytes], capture: str, tmp_path: Path) -> list[bool]:
    """Whether each of some snapshots is torn."""
    freezer = Watched(lambda: Signals(lambda: [agent.pid]), tmp_path / freeze.MARK)
    found: list[bool] = []
    wanted = int(os.environ.get("HOLDFAST_FREEZES", "4"))
    for _ in range(wanted * 10):
        if len(found) == wanted:
            break
        taken = home.take(work, capture=capture, freezer=freezer)
        assert taken.manifest is not None
        if capture == "freeze" and taken.manifest.consistency is not Consistency.FREEZE:
            assert taken.note  # a busy machine: said, and not held to the promise
            continue
        found.append(_torn(_numbers(home, taken.manifest, tmp_path)))
    return found


def test_files_and_databases_written_together_are_never_torn_apart(
    agent: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    found = _taken(home, tmp_path / "work", agent, "freeze", tmp_path)
    assert found
    assert not any(found)
    assert list(tmp_path.glob(freeze.MARK + "*")) == []


def test_the_same_look_finds_snapshots_that_were_made_while_it_ran_torn(
    agent: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    assert any(any(_taken(home, tmp_path / "work", agent, "guard", tmp_path)) for _ in range(20))


class _Flooded:
    """A freezer for an agent that writes a lot just before it stands still."""

    deadline_mono = float("inf")
    pause_s = 0.0

    def __init__(self, work: Path) -> None:
        self._work = work

    @contextmanager
    def frozen(self) -> Iterator[_Flooded]:
        for number in range(4):
            (self._work / str(number)).write_bytes(os.urandom(300_000))
        yield self

    def lasted(self) -> bool:
        return True


def test_a_flood_that_cannot_be_read_in_one_pause_is_kept_as_it_was_found_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FREEZE_SHELF_BYTES", 1_000_000)
    work = tmp_path / "work"
    work.mkdir()
    (work / "large").write_bytes(b"x")
    home = Home(tmp_path / "home")
    taken = home.take(work, capture="freeze", freezer=_Flooded(work))
    assert taken.manifest is not None
    assert taken.manifest.consistency is Consistency.GUARD
    assert "more changed at once" in taken.note
    assert home.names(taken.manifest) == {"large"}
    assert home.take(work).snapshot is not None
    assert home.take(work).snapshot is None  # what was known of the first pass is kept


@pytest.mark.skipif("HOLDFAST_PAUSES" not in os.environ, reason="a measurement: HOLDFAST_PAUSES=snapshots")
def test_pauses_of_an_agent_that_writes_a_hundred_megabytes(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    process = _started(_FLOOD, str(work))
    home, freezer, frozen = Home(tmp_path / "home"), Watched(lambda: Signals(lambda: [process.pid])), 0
    try:
        for _ in range(int(os.environ["HOLDFAST_PAUSES"])):
            taken = home.take(work, capture="freeze", freezer=freezer)
            frozen += taken.manifest is not None and taken.manifest.consistency is Consistency.FREEZE
    finally:
        process.kill()
        process.wait()
    pauses = sorted(freezer.pauses_s)
    print(
        json.dumps({"pauses": len(pauses), "median": statistics.median(pauses), "most": pauses[-1], "frozen": frozen})
    )
    assert pauses
