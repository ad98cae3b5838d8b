"""A private copy of a file, made as fast as the machine can: what was copied may change again at once.

Used where the agent waits for us (a database with a rollback journal, an agent that stands still), so it has a
deadline. The copy has no name and is gone with its descriptor. Called by database.py.
"""

from __future__ import annotations

import fcntl
import os
import time

from holdfast import limits

_FICLONE = 0x4004_9409
_STEP_BYTES = 8 * 1024 * 1024


class TooSlow(Exception):
    """The copy was not done by its deadline."""


def blank(size: int, directory: str | None) -> int:
    """A descriptor to copy into: in memory when it is small, else a nameless file below `directory`.

    Raises OSError (no place to copy to, disk full).
    """
    if size <= limits.SPOOL_MEMORY_MAX_BYTES or directory is None:
        if size > limits.SPOOL_MEMORY_MAX_BYTES:
            raise OSError(28, "no directory to copy a large database into")
        return os.memfd_create("holdfast-copy", os.MFD_CLOEXEC)
    room = os.statvfs(directory)
    if room.f_bavail * room.f_frsize * limits.SPOOL_DISK_SHARE < size:
        raise OSError(28, "too little room on the disk to copy the database")
    return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def fill(into_fd: int, from_fd: int, deadline_mono: float) -> None:
    """Copy all of `from_fd`. Raises TooSlow, OSError."""
    try:
        fcntl.ioctl(into_fd, _FICLONE, from_fd)
        return
    except OSError:
        pass  # another file system, or one that cannot share blocks
    size, offset = os.fstat(from_fd).st_size, 0
    os.lseek(into_fd, 0, os.SEEK_SET)
    while offset < size:
        if time.monotonic() > deadline_mono:
            raise TooSlow
        copied = os.sendfile(into_fd, from_fd, offset, min(_STEP_BYTES, size - offset))
        if copied == 0:
            return
        offset += copied
