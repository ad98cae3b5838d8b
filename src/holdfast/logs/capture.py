"""One agent's output: from its FIFO into its log file, a bounded piece a turn.

Invariants: a turn never blocks; with splice a SIGKILL at any moment loses and tears nothing, because the kernel moves
bytes from pipe to file in one uninterruptible piece; with the read-and-write fallback at most COPY_BYTES are lost.
When the disk refuses, the agent is still drained and what is dropped is counted. Standard library only.
Called by logger.py.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from holdfast.logs import rotation
from holdfast.logs.index import SUFFIX, Index
from holdfast.logs.losses import Losses

TURN_BYTES = 256 * 1024  # one agent's share of a round: a flood delays the others by a fraction of a millisecond
COPY_BYTES = 64 * 1024
SAMPLE_BYTES = 4096
RETRY_S = 1.0
FULL = (errno.ENOSPC, errno.EDQUOT)

Step = Callable[[str], None]


class Capture:
    """Where one agent's bytes go. The FIFO's descriptor is handed in with each turn, because it may be replaced."""

    __slots__ = (
        "_devnull",
        "_file_bytes",
        "_files",
        "_index",
        "_inode",
        "_log",
        "_losses",
        "_reason",
        "_saved_mono",
        "_step",
        "_stored_at",
        "directory",
        "gone",
        "retry_mono",
        "rotated",
        "splices",
    )

    def __init__(self, directory: str, file_bytes: int, files: int, devnull: int, step: Step) -> None:
        self.directory = directory
        self.gone = False  # the directory was removed: nothing is kept any more
        self.retry_mono: float | None = None  # while dropping: when the disk is tried again
        self.rotated = False  # a file was rotated since somebody looked
        self.splices = hasattr(os, "splice")
        self._file_bytes = file_bytes
        self._files = files
        self._devnull = devnull
        self._step = step
        self._log = -1
        self._inode = 0
        self._stored_at = 0  # where the last turn's bytes begin
        self._index: Index | None = None
        self._losses = Losses(directory)
        self._reason = ""
        self._saved_mono = 0.0
        if self._losses.pending_bytes:
            self._reason, self.retry_mono = "disk full", 0.0
        try:
            rotation.trim(directory, files)
        except OSError:
            pass

    def turn(self, fifo: int, now_ns: int, now_mono: float, most: int | None = None) -> int:
        """Move what is there, at most `most` bytes. Returns the bytes moved or dropped; 0: nothing was there."""
        if self.gone or (self.retry_mono is not None and not self.retry(now_mono, now_ns)):
            return self._drop(fifo)
        try:
            return self._store(fifo, now_ns, TURN_BYTES if most is None else most)
        except BlockingIOError:
            return 0
        except OSError as error:
            self._refused(error, now_mono, now_ns)
            return self._drop(fifo)

    def retry(self, now_mono: float, now_ns: int) -> bool:
        """Once a second try the disk again; True when it takes bytes and the loss stands in the log."""
        if self.retry_mono is None:
            return True
        if now_mono < self.retry_mono:
            return False
        try:
            self._tell_losses()
        except OSError as error:
            self._refused(error, now_mono, now_ns)
            return False
        self._losses.pending_bytes = 0
        self._losses.save("", now_ns / 1e9)
        self._reason, self.retry_mono = "", None
        return True

    def limit(self, file_bytes: int, files: int) -> None:
        """From the next rotation on."""
        self._file_bytes, self._files = file_bytes, files

    def rotate(self) -> None:
        """Begin a new log with the next bytes. Raises OSError."""
        rotation.rotate(self.directory, self._files, self._step)
        self.rotated = True
        self.close()

    def lines_of_turn(self, moved: int) -> int:
        """About how many lines the last turn stored, by a sample of it."""
        try:
            sample = os.pread(self._log, min(moved, SAMPLE_BYTES), self._stored_at)
        except OSError:
            return 0
        return sample.count(b"\n") * moved // len(sample) if sample else 0

    def say(self, text: str) -> bool:
        """A line of ours between two lines of the agent's; False: not now, its last line is not whole yet."""
        if self.gone or self.retry_mono is not None:
            return False
        try:
            size = self._ready()
            if size and os.pread(self._log, 1, size - 1) != b"\n":
                return False
            line = b"holdfast: %s\n" % text.encode()
            if os.write(self._log, line) < len(line):
                os.ftruncate(self._log, size)
            return True
        except OSError:
            return True  # said or not: the disk has other worries

    def check_file(self) -> None:
        """Let go of the log file when it is no longer the one in the directory."""
        if self._log < 0:
            return
        try:
            if os.stat(rotation.path_of(self.directory, 0), follow_symlinks=False).st_ino == self._inode:
                return
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        """Idempotent."""
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    # --- storing ---------------------------------------------------------------------------------------------
    def _store(self, fifo: int, now_ns: int, most: int) -> int:
        size = self._stored_at = self._ready()
        if self._index is not None:
            self._index.note(now_ns, size)
        count = min(most, self._file_bytes - size)
        if self.splices:
            try:
                return os.splice(fifo, self._log, count, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                self.splices = False
        return self._copy(fifo, min(count, COPY_BYTES))

    def _copy(self, fifo: int, count: int) -> int:
        data = os.read(fifo, count)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._log, data[written:])
        except OSError:
            self._losses.add(len(data) - written)
            raise
        return len(data)

    def _ready(self) -> int:
        """The log file is open, positioned at its end, and has room. Returns its length in bytes."""
        if self._log < 0:
            self._open()
        size = os.lseek(self._log, 0, os.SEEK_END)
        if size < self._file_bytes:
            return size
        self.rotate()
        self._open()
        self._step("opened")
        return os.lseek(self._log, 0, os.SEEK_END)

    def _open(self) -> None:
        path = rotation.path_of(self.directory, 0)
        # Not O_APPEND: splice refuses such files. Nobody else writes here, logger.lock sees to it.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(path, flags, 0o600)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "log is not a regular file", path)
        self._log, self._inode = fd, status.st_ino
        self._index = Index(path + SUFFIX, status.st_ino)

    # --- losing ----------------------------------------------------------------------------------------------
    def _drop(self, fifo: int) -> int:
        try:
            if self.splices:
                count = os.splice(fifo, self._devnull, TURN_BYTES, flags=os.SPLICE_F_NONBLOCK)
            else:
                count = len(os.read(fifo, COPY_BYTES))
        except OSError:
            return 0
        self._losses.add(count)
        return count

    def _refused(self, error: OSError, now_mono: float, now_ns: int) -> None:
        self._reason = "disk full" if error.errno in FULL else (error.strerror or str(error))
        self.retry_mono = now_mono + RETRY_S
        self._losses.save(self._reason, now_ns / 1e9)

    def _tell_losses(self) -> None:
        """Write the one line that says what is missing here, whole or not at all. Raises OSError."""
        size = self._ready()
        line = b"holdfast: %d bytes dropped, %s\n" % (self._losses.pending_bytes, self._reason.encode())
        if size and os.pread(self._log, 1, size - 1) != b"\n":
            line = b"\n" + line
        if self._losses.pending_bytes and os.write(self._log, line) < len(line):
            os.ftruncate(self._log, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
