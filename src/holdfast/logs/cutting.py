"""Cuts the front of a log file that an agent writes itself; what is cut away is kept compressed beside it.

The front is taken out by the file system itself where it can (ext4, XFS): writers go on and no line is lost. Elsewhere
the file is copied to its very end and emptied, and what is written between those two calls is lost.
Invariants: killed at any step the file is as it was or cut, and what was cut away is whole beside it; a full disk does
not keep a file from being cut; all names are below one open directory and no link is followed at any of them.
Runs with the rights of the agent's user. Called by capping.py, and by archivist.py for Holdfast's own logs.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable
from typing import NamedTuple

from holdfast import limits
from holdfast.logs import capped

PIECE_BYTES = 512 * 1024
LEVEL = 1  # as for the logs we capture
_COLLAPSE_RANGE = 0x08
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

Step = Callable[[str], None]


class Unfit(Exception):
    """The file is none that is cut; the clause says why."""


class Cut(NamedTuple):
    """`cut_bytes` went; `kept_bytes` of them are beside it; `lost_bytes` came while it was emptied, at least."""

    cut_bytes: int
    kept_bytes: int
    lost_bytes: int = 0
    emptied: bool = False  # the file system could not take the front out
    no_room: bool = False


def open_log(directory: int, name: str, uid: int, flags: int) -> int:
    """A descriptor of a file that may be cut. Raises Unfit or OSError."""
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(fd)
        why = capped.unfit(status, uid, b"")
        why = why or capped.unfit(status, uid, os.pread(fd, capped.HEAD_BYTES, 0))
        if why:
            raise Unfit(why)
    except BaseException:
        os.close(fd)
        raise
    return fd


def cut(directory: int, name: str, uid: int, cap_bytes: int, step: Step = lambda name: None) -> Cut | None:
    """Cut NAME in the open `directory`; None when it is within its cap.

    Raises Unfit or OSError; the file is as it was then.
    """
    fd = open_log(directory, name, uid, os.O_RDWR)
    try:
        size = os.fstat(fd).st_size
        if size <= cap_bytes:
            return None
        block = os.fstatvfs(fd).f_frsize or 4096
        front = (size - capped.kept_bytes(cap_bytes)) // block * block
        store = _Store(directory, name, stat.S_IMODE(os.fstat(fd).st_mode) & 0o666, step)
        try:
            store.begin()
            store.add(fd, max(0, front - cap_bytes), front)
            store.finish()
        except OSError as error:
            store.abandon()
            if error.errno not in _NO_ROOM:
                raise
        try:
            return _cut(fd, front, store, step)
        finally:
            store.close()
    finally:
        os.close(fd)


def _cut(fd: int, front: int, store: _Store, step: Step) -> Cut:
    if not store.failed:
        os.fdatasync(fd)  # else the file system does it while writers wait
    step("collapse")
    if front and _collapse(fd, front):
        step("cut")
        return Cut(front, store.plain_bytes, no_room=store.failed)
    end, copied = _copy_rest(fd, front, store)
    step("empty")
    os.ftruncate(fd, 0)
    step("cut")
    return Cut(end, store.plain_bytes, 0 if store.failed else end - copied, emptied=True, no_room=store.failed)


def _copy_rest(fd: int, start: int, store: _Store) -> tuple[int, int]:
    """Add what is behind `start` until nothing more comes: (where the file ends, how far it was copied)."""
    at, most, synced = start, os.fstat(fd).st_size + limits.CAPPED_DELTA_BYTES, False
    while not store.failed and at < most:
        try:
            data = os.pread(fd, PIECE_BYTES, at)
            if data:
                store.add_piece(data)
                at += len(data)
            elif synced:
                break
            else:  # all that is left to copy after this is what was written meanwhile
                store.sync()
                synced = True
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            store.failed = True
    return max(at, os.fstat(fd).st_size), at


class _Store:
    """NAME.holdfast.zst: frames of zstd, one after the other. `failed`: there was no room for it."""

    def __init__(self, directory: int, name: str, mode: int, step: Step) -> None:
        self._directory = directory
        self._partial, self._final = name + capped.PARTIAL, name + capped.SUFFIX
        self._mode = mode
        self._step = step
        self._fd = -1
        self.failed = False
        self.plain_bytes = 0

    def begin(self) -> None:
        import zstandard

        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._partial, dir_fd=self._directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._partial, flags, 0o600, dir_fd=self._directory)
        os.fchmod(self._fd, self._mode | stat.S_IRUSR | stat.S_IWUSR)
        self._step("begun")

    def add(self, source: int, start: int, end: int) -> None:
        while start < end:
            data = os.pread(source, min(PIECE_BYTES, end - start), start)
            if not data:
                return
            self.add_piece(data)
            start += len(data)
            self._step("piece")

    def add_piece(self, data: bytes) -> None:
        view = memoryview(self._compressor.compress(data))
        while view:
            view = view[os.write(self._fd, view) :]
        self.plain_bytes += len(data)

    def sync(self) -> None:
        os.fsync(self._fd)

    def finish(self) -> None:
        """It takes the place of what was cut away before."""
        self.sync()
        self._step("synced")
        os.rename(self._partial, self._final, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        os.fsync(self._directory)
        self._step("kept")

    def abandon(self) -> None:
        self.failed = True
        self.plain_bytes = 0
        with contextlib.suppress(OSError):
            os.unlink(self._partial, dir_fd=self._directory)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _collapse(fd: int, count: int) -> bool:
    """Take the first `count` bytes out of the file; False where the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        return bool(libc.fallocate(fd, _COLLAPSE_RANGE, 0, count) == 0)
    except AttributeError:
        return False
