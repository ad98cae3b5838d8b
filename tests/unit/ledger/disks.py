"""Disks that fail: full, refusing to sync, and cut from power between any two calls."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from holdfast.ledger.disk import Disk


class FullDisk(Disk):
    """Takes writes only into space that was allocated before it became full."""

    def __init__(self) -> None:
        self.full = False
        self._allocated: dict[int, int] = {}

    def allocate(self, fd: int, length: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().allocate(fd, length)
        self._allocated[os.fstat(fd).st_ino] = length

    def create(self, path: Path) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(path)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        if not self.full:
            super().write(fd, data, offset)
            return
        room = max(0, os.fstat(fd).st_size - offset)
        super().write(fd, data[:room], offset)
        if room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FailingSync(Disk):
    """Refuses to sync while `failing`."""

    failing = False

    def sync(self, fd: int) -> None:
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(fd)


class PowerCutDisk(Disk):
    """Remembers what each file held at its last sync; `cut` puts that back, as the loss of power may do."""

    def __init__(self) -> None:
        self._safe: dict[int, bytes] = {}
        self.syncs = 0

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self._safe.setdefault(os.fstat(fd).st_ino, _content(fd))
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self.syncs += 1
        self._safe[os.fstat(fd).st_ino] = _content(fd)

    def cut(self, directory: Path) -> None:
        for path in directory.iterdir():
            kept = self._safe.get(path.stat().st_ino)
            if kept is not None:
                path.write_bytes(kept)


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)
