"""Who may write: one process at a time for each repository, and each gets a number larger than the one before.

The lock is the kernel's (flock), so it goes with the process that held it. The number (epoch) stands in every
snapshot's name; it needs no fsync, since the writer takes the largest of this file's and those in the names. Called
around capture, retention and gc.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import STATE_IN_USE, HoldfastError

LOCK = "lock"
EPOCH = "epoch"


@dataclass(frozen=True, slots=True)
class Held:
    """The lock, held. `epoch` is for the writer."""

    epoch: int


@contextlib.contextmanager
def lock(state_dir: Path) -> Iterator[Held]:
    """Of one agent's directory (that `repo/` lies in). Raises HoldfastError when another holds it, OSError."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            reason = f"process {holder} is at it" if holder.isdecimal() else "another process is at it"
            raise HoldfastError(STATE_IN_USE, where=str(state_dir), reason=reason) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield Held(_next_epoch(state_dir / EPOCH))
    finally:
        os.close(fd)


def _next_epoch(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        text = os.pread(fd, 20, 0).strip()
        epoch = (int(text) if text.isdigit() and len(text) <= 12 else 0) + 1
        os.ftruncate(fd, os.pwrite(fd, b"%06d" % epoch, 0))
        return epoch
    finally:
        os.close(fd)
