"""A large file written past the page cache: a tenth of the CPU, and nobody else's cached files make room for it.

Invariant: whatever the file system can do, the file holds the bytes given, in order; where it cannot write so, or not
any more, the rest goes through the cache. What was written still needs its fsync. Called by scribe.py.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os

MIN_BYTES = 256 * 1024  # a smaller file costs more calls than it saves
_BUFFER_BYTES = 1024 * 1024
_BLOCK_BYTES = 4096  # multiples of it are written


class Direct:
    """One buffer, for one file after the other: `begin`, `add` …, `end`."""

    def __init__(self) -> None:
        self._buffer = memoryview(mmap.mmap(-1, _BUFFER_BYTES))  # as aligned as a page
        self._held = 0
        self._fd = -1
        self._is_direct = False

    def begin(self, fd: int) -> bool:
        """Whether this new file can be written so; it is not touched otherwise."""
        self._held = 0
        try:
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_DIRECT)
        except OSError:
            return False
        self._fd, self._is_direct = fd, True
        return True

    def add(self, data: bytes) -> None:
        """Raises OSError."""
        view = memoryview(data)
        while view:
            part = view[: _BUFFER_BYTES - self._held]
            self._buffer[self._held : self._held + len(part)] = part
            self._held += len(part)
            view = view[len(part) :]
            if self._held == _BUFFER_BYTES:
                self._write(_BUFFER_BYTES)
                self._held = 0

    def end(self) -> None:
        """All of it is written. Raises OSError."""
        self._write(self._held)
        self._held = 0
        self._through_cache()

    def _write(self, count: int) -> None:
        at = 0
        while at < count:
            rest = count - at
            if self._is_direct and (rest < _BLOCK_BYTES or at % _BLOCK_BYTES):
                self._through_cache()  # the end of the file, or the disk took less than asked
            length = rest - rest % _BLOCK_BYTES if self._is_direct else rest
            try:
                at += os.write(self._fd, self._buffer[at : at + length])
            except OSError as e:
                if not self._is_direct or e.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
                self._through_cache()

    def _through_cache(self) -> None:
        if self._is_direct:
            self._is_direct = False
            fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) & ~os.O_DIRECT)
