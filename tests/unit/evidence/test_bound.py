"""The collector as a process: at the bound it ends, and whom its tool had stopped goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from holdfast.evidence.model import Order
from holdfast.node import processes

# Stands in for py-spy: attaches to the process it is told and never reads anything.
TOOL = f"""#!{sys.executable} -IS
import ctypes, sys, time
assert ctypes.CDLL(None).ptrace(16, int(sys.argv[sys.argv.index("--pid") + 1]), 0, 0) == 0
time.sleep(600)
"""
# The collector with that tool; killing it at its own time limit is taken away, so that only the bound is left.
PROGRAM = """
import sys
from holdfast.evidence import __main__ as program, stacks
stacks.py_spy = lambda: sys.argv[1]
run = stacks.run_tool
stacks.python.__defaults__ = (lambda command, timeout_s: run(command, 600.0),)
sys.exit(program.main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may attach to any process")
def test_who_was_stopped_by_a_tool_goes_on_when_the_collector_ends_at_its_bound(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    target = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
    try:
        # On a loaded machine the tool may not have begun when the first bound is there.
        assert any(_was_stopped(target.pid, tool, bound_s) for bound_s in (2.0, 10.0, 60.0))
        deadline = time.monotonic() + 60
        while _state(target.pid) in "Tt":
            assert time.monotonic() < deadline, "it was left stopped"
            time.sleep(0.01)
    finally:
        target.kill()
        target.wait()


def _was_stopped(pid: int, tool: Path, bound_s: float) -> bool:
    """Let a collector look until its bound; whether its tool had stopped the process meanwhile."""
    order = Order(
        agent="a",
        instance=1,
        pid=pid,
        starttime=processes.starttime(pid) or 0,
        until_mono=time.monotonic() + bound_s,
    )
    line = [sys.executable, "-c", PROGRAM, str(tool)]
    collector = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    assert collector.stdin is not None
    collector.stdin.write(msgspec.json.encode(order))
    collector.stdin.close()
    stopped = False
    while collector.poll() is None:
        stopped = stopped or _state(pid) == "t"
        time.sleep(0.01)
    return stopped


def _state(pid: int) -> str:
    found = processes.stat(pid)
    return found.state if found is not None else "?"
