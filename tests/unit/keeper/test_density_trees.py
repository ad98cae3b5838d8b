"""Who belongs to which agent, by a process table that looks like /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.init.protocol import INSTANCE_ENV
from holdfast.keeper.density.trees import Trees


class Table:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, pid: int, ppid: int, session: int, *, started: int = 7, state: str = "S", environ: str = "") -> None:
        own = self.directory / str(pid)
        own.mkdir(exist_ok=True)
        fields = [state, ppid, pid, session, *[0] * 15, started, 0, 0]
        (own / "stat").write_text(f"{pid} (a ) name) " + " ".join(map(str, fields)))
        (own / "environ").write_bytes(environ.encode() + b"\0")

    def remove(self, pid: int) -> None:
        for file in (self.directory / str(pid)).iterdir():
            file.unlink()
        (self.directory / str(pid)).rmdir()


@pytest.fixture
def table(tmp_path: Path) -> Table:
    made = Table(tmp_path)
    made.add(1, 0, 1)
    made.add(100, 1, 100)  # the agent's main process
    made.add(101, 100, 100)
    made.add(102, 101, 102)  # a session of its own
    made.add(200, 1, 200)  # a stranger
    return made


MAIN = {"a": (100, 7)}


def test_children_belong_to_whom_their_parent_belongs(table: Table) -> None:
    trees = Trees("home", str(table.directory))
    trees.walk(MAIN, 0.0)
    assert sorted(trees.of("a")) == [100, 101, 102]
    assert trees.of("b") == []


def test_who_lost_its_parent_stays_and_who_is_gone_is_left_out(table: Table) -> None:
    trees = Trees("home", str(table.directory))
    trees.walk(MAIN, 0.0)
    table.remove(101)
    table.add(102, 1, 102)
    trees.walk(MAIN, 1.0)
    assert sorted(trees.of("a")) == [100, 102]


def test_one_that_init_took_in_is_known_by_its_session_or_its_environment(table: Table) -> None:
    table.add(300, 1, 100)
    table.add(301, os.getppid(), 301, environ=f"{INSTANCE_ENV}=home:a:4")
    table.add(302, os.getppid(), 302, environ=f"{INSTANCE_ENV}=another:a:4")
    trees = Trees("home", str(table.directory))
    trees.walk(MAIN, 0.0)
    assert sorted(trees.of("a")) == [100, 101, 102, 300, 301]


def test_a_number_that_another_process_has_taken_belongs_to_nobody(table: Table) -> None:
    trees = Trees("home", str(table.directory))
    trees.walk(MAIN, 0.0)
    table.add(102, 200, 200, started=99)
    table.add(103, 101, 100, state="Z")
    trees.walk(MAIN, 60.0)
    assert sorted(trees.of("a")) == [100, 101]


def test_an_agent_that_was_started_again_has_only_its_new_tree(table: Table) -> None:
    trees = Trees("home", str(table.directory))
    trees.walk(MAIN, 0.0)
    for pid in (100, 101, 102):
        table.remove(pid)
    table.add(400, 1, 400, started=50)
    trees.walk({"a": (400, 50)}, 1.0)
    assert trees.of("a") == [400]
