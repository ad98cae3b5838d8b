"""Whose children are seen when somebody dies: none is left out, and nothing is believed from before a death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.init import main, procfs
from holdfast.init.processes import Processes

# Has many children, which end one after the other and are reaped at once, and one that stays; prints its pid.
REAPER = """
import os, sys, time
for number in range(400):
    if os.fork() == 0:
        time.sleep(0.2 + number * 0.002)
        os._exit(0)
stays = os.fork()
if stays == 0:
    time.sleep(600)
print(stays, flush=True)
while True:
    os.wait()
"""


@pytest.fixture
def child() -> Iterator[int]:
    """Pid of a living child of ours."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process.pid
        process.kill()


def lists(monkeypatch: pytest.MonkeyPatch, *answers: list[int]) -> None:
    left = list(answers)
    monkeypatch.setattr(procfs, "children", lambda _pid: left.pop(0) if len(left) > 1 else left[0])


def test_a_list_that_left_somebody_out_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    lists(monkeypatch, [10, 11], [11, 12], [11, 12])
    assert procfs.all_children(1) == [11, 12]


def test_a_thread_that_ends_hides_no_children_of_the_others(monkeypatch: pytest.MonkeyPatch, child: int) -> None:
    """The process above us may have many threads that come and go."""
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: ["999999999", *listed(path)])
    assert child in procfs.children(os.getpid())


def test_where_no_two_lists_are_equal_the_whole_machine_is_read(monkeypatch: pytest.MonkeyPatch, child: int) -> None:
    number = iter(range(10**6))
    monkeypatch.setattr(procfs, "children", lambda _pid: [next(number)])
    assert child in procfs.all_children(os.getpid())


def test_a_child_is_seen_in_every_look_while_others_are_reaped() -> None:
    parent = subprocess.Popen([sys.executable, "-c", REAPER], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        stays = int(parent.stdout.readline())
        missed = 0
        while len(found := procfs.all_children(parent.pid)) > 1:
            missed += stays not in found
        assert missed == 0
        assert found == [stays]
    finally:
        for pid in [*procfs.all_children(parent.pid), parent.pid]:
            os.kill(pid, signal.SIGKILL)
        parent.wait()


def test_what_the_dead_left_behind_is_looked_up_after_all_of_them_are_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One dies between the looks of a turn: a list from before it would call its tree empty."""
    processes = Processes("home")
    below: list[int] = []
    monkeypatch.setattr(procfs, "children", lambda _pid: list(below))
    assert processes.orphans() == []
    ends = iter([(1001, 9), (1002, 9)])
    seen: dict[int, list[int]] = {}

    class Supervisor:
        def __init__(self) -> None:
            self.processes = processes

        def reaped(self, pid: int, _status: int) -> None:
            seen[pid] = processes.orphans()

    def reap() -> Any:
        end = next(ends, None)
        if end is not None:
            below.append(end[0] + 1000)  # what it left comes to us with its death
        return end

    monkeypatch.setattr(main, "_reap", reap)
    init = object.__new__(main.Init)
    init.supervisor = Supervisor()  # type: ignore[assignment]
    init.spawner = type("Line", (), {"hear": lambda _self: None})()  # type: ignore[assignment]
    monkeypatch.setattr(init, "_settle", lambda: None)
    init._on_signals(bytes([signal.SIGCHLD]))
    assert 2001 in seen[1001]
    assert 2002 in seen[1002]
