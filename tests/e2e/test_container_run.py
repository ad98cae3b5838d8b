"""Containers whose client may die without them: never two of one name, the signal arrives, and so does the code."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.recipes import container_run
from tests.harness.init_home import PATIENCE_S

# Like docker: `run` starts the container outside its own process group and session and waits for it; it passes signals
# on; it may be killed without the container noticing; `rm --force` kills. State: one file per container.
ENGINE = """#!{python}
import os, pathlib, signal, subprocess, sys, time
state = pathlib.Path({state!r})
verb, rest = sys.argv[1], sys.argv[2:]
if verb == "rm":
    entry = state / rest[-1]
    if not entry.exists():
        print("Error: No such container: " + rest[-1], file=sys.stderr); sys.exit(1)
    try:
        os.killpg(int(entry.read_text()), signal.SIGKILL)
    except ProcessLookupError:
        pass
    entry.unlink(missing_ok=True)
    sys.exit(0)
name = rest[rest.index("--name") + 1]
if (state / name).exists():
    print("Error: the name is in use", file=sys.stderr); sys.exit(125)
boxes, told = [], []
def pass_on(*_):
    told.append("term")
    for box in boxes:
        box.send_signal(signal.SIGTERM)
signal.signal(signal.SIGTERM, pass_on)
boxes.append(subprocess.Popen(rest[rest.index("IMAGE") + 1:], start_new_session=True))
if told:
    boxes[0].send_signal(signal.SIGTERM)
(state / name).write_text(str(boxes[0].pid))
code = boxes[0].wait()
(state / name).unlink(missing_ok=True)
sys.exit(code if code >= 0 else 128 - code)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    program = tmp_path / "docker"
    program.write_text(ENGINE.format(python=sys.executable, state=str(tmp_path / "state")))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def _start(engine: Path, *inside: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-I", "-S", container_run.__file__, str(engine), "box", "IMAGE", *inside]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _box(engine: Path, other_than: int = 0) -> int:
    """The pid of the running container, awaited."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            pid = int((engine.parent / "state/box").read_text())
            if pid != other_than:
                return pid
        except (OSError, ValueError):
            pass
        time.sleep(0.02)
    raise AssertionError("no container came to be")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _await_death(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while _alive(pid):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.02)


def test_the_exit_code_of_the_container_is_that_of_the_agent(engine: Path) -> None:
    assert _start(engine, "sh", "-c", "exit 7").wait(PATIENCE_S) == 7


def test_a_term_reaches_the_container_and_its_code_comes_back(engine: Path) -> None:
    ready = engine.parent / "ready"
    agent = _start(engine, "sh", "-c", f"trap 'exit 3' TERM; touch {ready}; while :; do sleep 0.05; done")
    deadline = time.monotonic() + PATIENCE_S
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE_S) == 3


def test_a_container_that_outlived_its_client_is_gone_before_the_next_one_starts(engine: Path) -> None:
    agent = _start(engine, "sleep", "600")
    first = _box(engine)
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    agent.kill()
    agent.wait()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)  # the client too: only the container is left
    assert _alive(first)
    again = _start(engine, "sleep", "600")
    second = _box(engine, other_than=first)
    _await_death(first)
    assert _alive(second)
    again.terminate()
    again.wait(PATIENCE_S)
    _await_death(second)


def test_an_engine_that_does_not_answer_is_the_engines_failure(tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho cannot connect to the daemon >&2\nexit 1\n")
    program.chmod(0o755)
    agent = _start(program, "true")
    said = agent.communicate(timeout=PATIENCE_S)[0].decode()
    assert agent.returncode == 125
    assert "cannot connect to the daemon" in said
