"""What the ledger does to its disk, each call once, so that tests can stand in a full, failing or unplugged one.

Invariant: nothing here decides. Every method raises OSError when the disk does not do it. Called by chain.py.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from holdfast.files import sync_directory


class Disk:
    """The real disk."""

    def lock(self, directory: Path) -> int:
        """A descriptor that holds the directory's only writer lock. Raises BlockingIOError when another has it."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def create(self, path: Path) -> int:
        """A new empty file; an older one of that name goes."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """All of it."""
        view = memoryview(data)
        while view:
            count = os.pwrite(fd, view, offset)
            view, offset = view[count:], offset + count

    def allocate(self, fd: int, length: int) -> None:
        """Make the first `length` bytes of the file take no more space when written."""
        os.posix_fallocate(fd, 0, length)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def truncate(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)
        sync_directory(new.parent)
