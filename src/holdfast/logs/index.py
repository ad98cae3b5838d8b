"""The sparse time index beside a log file: when was the file how long. Format: docs/formats/logs.md.

Invariant: a record (T, O) says that the bytes before O were captured before T. The index names the inode it belongs
to; one that fits no file is ignored, and without an index a log is still readable, only slower to search by time.
Standard library only. Written by capture.py (the logger), read by read.py.
"""

from __future__ import annotations

import os
import struct

HEADER = struct.Struct("<4sHHQ")  # magic, version, zero, inode of the log file
RECORD = struct.Struct("<QQ")  # wall clock ns, offset
MAGIC = b"HFLX"
VERSION = 1
SUFFIX = ".idx"
EVERY_NS = 1_000_000_000
EVERY_BYTES = 64  # keeps the index below a quarter of its log whatever the line length
QUIET_NS = 5_000_000_000  # five silent seconds deserve a record, however few bytes came before: 0.3 MB a day at most
READ_BYTES = 64 * 1024


class Index:
    """Appends to the index of one log file, at most once a second. Failures are swallowed: it is only an index."""

    __slots__ = ("_inode", "_last_ns", "_last_offset", "_path")

    def __init__(self, path: str, inode: int) -> None:
        self._path = path
        self._inode = inode
        self._last_ns = -QUIET_NS
        self._last_offset = 0

    def note(self, now_ns: int, offset: int) -> None:
        """The log is `offset` bytes long at wall time `now_ns`, before more is written."""
        passed = now_ns - self._last_ns
        if 0 <= passed < EVERY_NS or (0 <= passed < QUIET_NS and 0 <= offset - self._last_offset < EVERY_BYTES):
            return
        self._last_ns = now_ns
        self._last_offset = offset
        try:
            self._append(RECORD.pack(now_ns, offset))
        except OSError:
            pass

    def _append(self, record: bytes) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            end = os.fstat(fd).st_size
            if belongs_to(fd) != self._inode:
                os.ftruncate(fd, 0)
                os.pwrite(fd, HEADER.pack(MAGIC, VERSION, 0, self._inode), 0)
                end = HEADER.size
            # A torn record at the end is written over.
            whole = HEADER.size + (end - HEADER.size) // RECORD.size * RECORD.size
            os.pwrite(fd, record, whole)
        finally:
            os.close(fd)


def belongs_to(fd: int) -> int | None:
    """Inode of the log file that this index is for; None when it is no index."""
    head = os.pread(fd, HEADER.size, 0)
    if len(head) < HEADER.size:
        return None
    magic, version, _, inode = HEADER.unpack(head)
    return int(inode) if magic == MAGIC and version == VERSION else None


def offset_before(path: str, inode: int, at_ns: int, size: int) -> int | None:
    """The largest known offset whose bytes before it were all captured before `at_ns`.

    None when no record is that old, or there is no index for this inode. `size`: length of the log in bytes.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if belongs_to(fd) != inode:
            return None
        count = (os.fstat(fd).st_size - HEADER.size) // RECORD.size
        step = READ_BYTES // RECORD.size
        # From the end, and not by halving: after a jump of the clock the times do not ascend.
        for first in range((count - 1) // step * step, -1, -step):
            chunk = os.pread(fd, min(step, count - first) * RECORD.size, HEADER.size + first * RECORD.size)
            usable = len(chunk) // RECORD.size * RECORD.size
            for noted_ns, offset in reversed(list(RECORD.iter_unpack(chunk[:usable]))):
                if noted_ns <= at_ns and offset <= size:
                    return int(offset)
        return None
    except OSError:
        return None
    finally:
        os.close(fd)


def records(path: str, inode: int) -> bytes:
    """All records of the index at `path`, in the order of the file; empty when it is not for this inode."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        if belongs_to(fd) != inode:
            return b""
        data = os.pread(fd, os.fstat(fd).st_size, HEADER.size)
        return data[: len(data) // RECORD.size * RECORD.size]
    except OSError:
        return b""
    finally:
        os.close(fd)


def last_before(found: bytes, at_ns: int, size: int) -> int | None:
    """As `offset_before`, for records in memory."""
    for place in range(len(found) // RECORD.size * RECORD.size - RECORD.size, -1, -RECORD.size):
        noted_ns, offset = RECORD.unpack_from(found, place)
        if noted_ns <= at_ns and offset <= size:
            return int(offset)
    return None
