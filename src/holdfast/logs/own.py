"""Logs of Holdfast's own processes, HOME/log/*.log: plain files without times or rotation by number.

Invariant: following survives that a file is emptied or replaced. Called by the command line.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.logs.pieces import READ_BYTES
from holdfast.logs.read import CutLines


def processes(directory: Path) -> list[str]:
    """Names of those that have printed something, sorted."""
    try:
        return sorted(path.stem for path in directory.glob("*.log") if path.is_file() and path.stat().st_size)
    except OSError:
        return []


class OwnFollower:
    """A place in one of these files; the same interface as read.Follower."""

    def __init__(self, directory: Path, name: str) -> None:
        self._path = directory / f"{name}.log"
        self._fd = -1
        self._offset = 0
        self._lines = CutLines()
        self.more = False

    def poll(self) -> list[bytes]:
        """Whole lines that came since, from a bounded piece. Never waits."""
        chunk = self._read()
        self.more = bool(chunk)
        return self._lines.feed(chunk)

    def rest(self) -> bytes | None:
        return self._lines.rest()

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> bytes:
        if self._fd < 0 and not self._open():
            return b""
        status = os.fstat(self._fd)
        if status.st_size < self._offset:
            self._offset = 0
        chunk = os.pread(self._fd, READ_BYTES, self._offset)
        self._offset += len(chunk)
        if not chunk and self._is_replaced(status.st_ino):
            self.close()
        return chunk

    def _open(self) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        self._offset = 0
        return True

    def _is_replaced(self, inode: int) -> bool:
        try:
            return os.stat(self._path, follow_symlinks=False).st_ino != inode
        except OSError:
            return False
