"""The files of one database (itself, `-wal`, `-shm`, `-journal`), opened as the agent and told apart by what they are.

Everything is opened below a directory's descriptor, without following links and without waiting for pipes. Nothing here
locks, but asks who does. Called by database.py.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from contextlib import ExitStack
from typing import NamedTuple

from holdfast.state.databases import sqlite_header, sqlite_journal, sqlite_wal
from holdfast.state.identity import acting_as
from holdfast.state.model import Rights

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RESERVED_OFFSET, _SHARED_OFFSET, _SHARED_BYTES = 0x4000_0001, 0x4000_0002, 510
_INDEX_IN_USE_OFFSET = 128  # of -shm: every connection holds this byte shared
_LOCK_ASKED = "hhqqi"  # struct flock of 64-bit Linux
_LATELY_NS = 60_000_000_000
_RACY_NS = 20_000_000  # clocks of file systems tick at least every 10 ms: a younger change may hide another


class Mark(NamedTuple):
    """By which is told whether a file was written since."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Files:
    """Of one database. `main` is open for as long as `held` is."""

    def __init__(self, directory_fd: int, name: bytes, rights: Rights | None, held: ExitStack) -> None:
        """Raises OSError (gone, no permission, a link)."""
        self._directory_fd, self.name, self._rights, self._held = directory_fd, name, rights, held
        with acting_as(rights):
            self.main = self._open(b"")

    def beside(self, suffix: bytes) -> int | None:
        """The file of that suffix, freshly opened; None when there is none, or it cannot be read."""
        with acting_as(self._rights):
            try:
                return self._open(suffix)
            except OSError:
                return None

    def _open(self, suffix: bytes) -> int:
        fd = os.open(self.name + suffix, _READ, dir_fd=self._directory_fd)
        self._held.callback(os.close, fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(22, "Not a regular file")
        return fd

    def header(self) -> sqlite_header.Header | None:
        return sqlite_header.parse(os.pread(self.main, sqlite_header.HEADER_BYTES, 0))

    def hot_journal(self) -> int | None:
        """The journal of a writer that died. Call while the shared lock is held.

        With that lock held nobody can begin to change the file. So a journal that is there before and after we saw
        that no writer lives is nobody's; with a living writer, what it wrote is in its journal only.
        """
        before = self.beside(b"-journal")
        if before is None or self._is_reserved():
            return None
        return before if self._journal_mark(before) == self._journal_mark(self.beside(b"-journal")) else None

    def undo(self, journal: int) -> sqlite_journal.Undo | None:
        """What the journal puts back, if anything: nothing when the journal that leads it is gone."""
        undo = sqlite_journal.read(journal)
        leader = sqlite_journal.leader(journal) if undo is not None else b""
        with acting_as(self._rights):
            return None if leader and not os.path.lexists(leader) else undo

    @staticmethod
    def _journal_mark(fd: int | None) -> tuple[int, bytes] | None:
        return (os.fstat(fd).st_ino, os.pread(fd, sqlite_journal.HEADER_BYTES, 0)) if fd is not None else None

    def _is_reserved(self) -> bool:
        """Whether somebody is writing, or about to."""
        return self._would_wait(fcntl.F_WRLCK, _RESERVED_OFFSET, 1)

    def is_exclusive(self) -> bool:
        """Whether somebody holds it for himself alone, now."""
        return self._would_wait(fcntl.F_RDLCK, _SHARED_OFFSET, _SHARED_BYTES)

    def _would_wait(self, lock: int, offset: int, length: int) -> bool:
        return _is_held(self.main, lock, offset, length)


def is_shared(index_fd: int) -> bool:
    """Whether somebody has the database of this index (-shm) open: then the index is true. Else it may be old."""
    return _is_held(index_fd, fcntl.F_WRLCK, _INDEX_IN_USE_OFFSET, 1)


def _is_held(fd: int, lock: int, offset: int, length: int) -> bool:
    told = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(_LOCK_ASKED, lock, os.SEEK_SET, offset, length, 0))
    return bool(struct.unpack(_LOCK_ASKED, told)[0] != fcntl.F_UNLCK)


def mark(fd: int) -> Mark:
    found = os.fstat(fd)
    return Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def head(overlay_fd: int) -> bytes:
    """Of a log or a journal: another one when it began anew."""
    return os.pread(overlay_fd, sqlite_wal.HEADER_BYTES, 0)


def is_fresh(found: Mark) -> bool:
    """Whether it was written so lately that a further write may leave the same times."""
    now_ns = time.time_ns()
    return any(0 <= now_ns - at_ns < _RACY_NS for at_ns in (found.mtime_ns, found.ctime_ns))


def is_in_use(fd: int) -> bool:
    """Whether it was written lately, so that it may well be written while it is read."""
    found, now_ns = mark(fd), time.time_ns()
    return any(abs(now_ns - at_ns) < _LATELY_NS for at_ns in (found.mtime_ns, found.ctime_ns))


def wait_until_stale(fd: int) -> None:
    """At most the length of a clock's tick, once."""
    if is_fresh(mark(fd)):
        time.sleep(_RACY_NS / 1e9)
