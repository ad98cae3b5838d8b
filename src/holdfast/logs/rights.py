"""Work done in a short-lived child with another user's rights, in bounded time.

Invariants: the child gives up root before it touches a path, and dies with us; what it found until its time was over
counts; a child that hangs in the kernel holds up nobody. Called by capping.py.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

_PR_SET_PDEATHSIG = 1
READ_BYTES = 65536


class Rights(NamedTuple):
    """`uid` None: our own."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()


Found = dict[str, Any]


def work(rights: Rights, do: Callable[[], Iterable[Found]], timeout_s: float) -> tuple[list[Found], bool]:
    """What `do` yields in the child, and whether it came to its end."""
    out, out_in = os.pipe2(os.O_CLOEXEC)
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        _be(rights, parent, out_in, do)
    os.close(out_in)
    try:
        data = _read(out, time.monotonic() + timeout_s)
    finally:
        os.close(out)
        ended = _end(pid)
    lines = data.split(b"\n")[:-1]
    return [json.loads(line) for line in lines], ended


def _read(out: int, until_mono: float) -> bytes:
    poll, data = select.poll(), bytearray()
    poll.register(out, select.POLLIN)
    while (left_s := until_mono - time.monotonic()) > 0:
        if poll.poll(left_s * 1000 + 1):
            piece = os.read(out, READ_BYTES)
            if not piece:
                break
            data += piece
    return bytes(data)


def _end(pid: int) -> bool:
    """Collect it; one that is not done is killed, and left alone when the kernel holds it."""
    for _ in range(100):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if os.waitpid(pid, os.WNOHANG)[0]:
            break
        time.sleep(0.005)
    return False


def _be(rights: Rights, parent: int, out: int, do: Callable[[], Iterable[Found]]) -> None:
    """In the child. Never returns."""
    code = 1
    try:
        if rights.uid is not None and rights.gid is not None:
            os.setgroups(rights.groups)
            os.setresgid(rights.gid, rights.gid, rights.gid)
            os.setresuid(rights.uid, rights.uid, rights.uid)
        # After the change of user, which would undo it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            for found in do():
                os.write(out, json.dumps(found).encode() + b"\n")
            code = 0
    except BaseException as error:
        print(f"log files: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)
