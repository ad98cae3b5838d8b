"""Loses the machine of a throw-away stage and builds it again from the second place, as a person on a new one would.

Invariant: only processes and directories of the stage's own home are ended and deleted; what is rebuilt with is the
second place, the recovery key and holdfast.yaml, nothing else. Called by state_ways.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess

from holdfast.drills.kept import STATE
from holdfast.drills.stage import ThrowAwayStage, tree_of

GONE_MAX_S = 10.0
KEY_FILE = "recovery.key"


def lose(stage: ThrowAwayStage) -> None:
    """Every process of this home is killed at once; the home and the files of the agent are deleted."""
    home_id = stage.home.home_id()
    pids = [*stage.pids().values(), *tree_of(home_id)]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    stage.wait_for(lambda: not _killed(home_id), GONE_MAX_S)
    stage.unmount()
    shutil.rmtree(stage.home.path, ignore_errors=True)
    shutil.rmtree(stage.place() / STATE)
    stage.mount()  # of the new machine, with nothing in it


def _killed(home_id: str) -> list[int]:
    """What was started just then is ended too."""
    left = tree_of(home_id)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def rebuild(stage: ThrowAwayStage, key: str) -> str:
    """The agent alone in a new home. Why that failed, one sentence; "": it runs."""
    path = stage.directory / KEY_FILE
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(key)
    done = stage.cli("restore", stage.agent, "--from", stage.second, "--key-file", str(path))
    if done.returncode:
        return f"`holdfast restore --from` failed: {_said(done)}"
    stage.write([stage.agent])
    return "" if stage.up_again() else "`holdfast up` failed in the new home"


def _said(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return next((line for line in lines if line.startswith("HF")), lines[-1] if lines else "no reason was given")
