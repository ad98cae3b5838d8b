"""What the logger's helper processes have in common: their beginning, and the orders they give to the logger.

Invariants: a helper dies with its logger and yields to everything else on the machine; one of each kind works in a
home. Called by archivist.py, shipper.py.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from holdfast.logs import settings

_PR_SET_PDEATHSIG = 1
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
_IOPRIO_IDLE = 3 << 13


def run(name: str, work: Callable[[Path], None], *, yielding: bool) -> int:
    """Carry out `work(home)` as the helper `name`. Exit codes: 0 done, or another works here; 1 it failed."""
    parser = argparse.ArgumentParser(prog=f"holdfast.logs.{name}")
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--parent", type=int, default=0)
    options = parser.parse_args()
    home: Path = options.home.absolute()
    if options.parent and not _die_with(options.parent):
        return 0
    if yielding:
        _yield_to_all()
    directory = home / settings.DIRECTORY
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    except OSError as error:
        tell(name, f"{home} cannot be used: {error.strerror}")
        return 1
    try:
        work(home)
    except (BrokenPipeError, KeyboardInterrupt):
        return 0  # the logger is gone
    return 0


def order(*words: object) -> None:
    """One order to the logger, in one piece. Raises BrokenPipeError when it is gone."""
    line = " ".join(str(word) for word in words).replace("\n", " ").encode()[: select.PIPE_BUF - 1]
    os.write(1, line + b"\n")


def tell(name: str, text: str) -> None:
    """One line into the logger's own log."""
    try:
        print(f"{name}: {text}", file=sys.stderr, flush=True)
    except OSError:
        pass


def _die_with(parent: int) -> bool:
    """False: the parent is gone already."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        pass
    return os.getppid() == parent


def _yield_to_all() -> None:
    try:
        os.nice(19)
        number = _IOPRIO_SET.get(os.uname().machine)
        if number is not None:
            ctypes.CDLL(None).syscall(number, 1, 0, _IOPRIO_IDLE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError):
        pass
