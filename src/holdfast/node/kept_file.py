"""A file of the kernel that is read again and again: opened once, read with pread, found again after it vanished.

Invariant: nothing here raises; what cannot be read is None, what cannot be written is its errno. A read costs about one
microsecond for a number and five for a memory.stat. Called by node.memory and the memory groups of pods.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

READ_MAX_BYTES = 16_384  # the largest of them, a memory.stat, has five thousand


class KeptFile:
    """One file: a path, or `name` in a directory, whose path all files of a group then share.

    `flags` beside O_CLOEXEC: O_RDONLY, O_WRONLY or O_RDWR, perhaps O_NONBLOCK. `again`: find it again under its path;
    not for files of a process, whose number a later one may have.
    """

    __slots__ = ("_again", "_fd", "_flags", "_name", "_path")

    def __init__(self, path: Path | str, flags: int = os.O_RDONLY, again: bool = True, *, name: str = "") -> None:
        self._again = again
        self._path = str(path)
        self._name = name
        self._flags = flags | os.O_CLOEXEC
        self._fd = -1

    @property
    def path(self) -> str:
        return f"{self._path}/{self._name}" if self._name else self._path

    @property
    def fd(self) -> int:
        """The descriptor, opened when it was not; -1 when there is no such file."""
        if self._fd < 0:
            with contextlib.suppress(OSError):
                self._fd = os.open(self.path, self._flags)
        return self._fd

    def read(self) -> bytes | None:
        """All of it, from its beginning; None when it is not there."""
        for _ in range(2):  # the second time the directory may have been made anew
            fd = self.fd
            if fd < 0:
                return None
            try:
                return os.pread(fd, READ_MAX_BYTES, 0)
            except OSError:
                if not self._again:
                    return None
                self.close()
        return None

    def read_once(self) -> bytes | None:
        """As `read`, for files that are seldom read: the descriptor is not kept."""
        try:
            return self.read()
        finally:
            self.close()

    def read_int(self) -> int | None:
        """The number in it; None for "max" and for what is not there."""
        text = (self.read() or b"").partition(b"\n")[0].strip()
        return int(text) if text.lstrip(b"-").isdigit() else None

    def write(self, text: str) -> int:
        """0, or the errno of what the kernel said: EBUSY, EINVAL, EAGAIN …; ENOENT when it is not there."""
        for _ in range(2):
            fd = self.fd
            if fd < 0:
                return errno.ENOENT
            try:
                os.pwrite(fd, f"{text}\n".encode(), 0)
                return 0
            except OSError as error:
                if error.errno not in (errno.ENODEV, errno.ENOENT, errno.ESRCH):
                    return error.errno or errno.EIO
                self.close()
        return errno.ENOENT

    def write_once(self, text: str) -> int:
        """As `write`, for files that are seldom written: the descriptor is not kept."""
        try:
            return self.write(text)
        finally:
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1


def number(text: bytes, key: bytes) -> int | None:
    """The value of `key` in lines of "key value", or "key: value kB" where `key` ends with the colon. Pure."""
    at = 0 if text.startswith(key + b" ") else text.find(b"\n" + key + b" ") + 1
    if at == 0 and not text.startswith(key + b" "):
        return None
    start = at + len(key) + 1
    end = text.find(b"\n", start)
    words = text[start : end if end >= 0 else None].split(None, 1)
    return int(words[0]) if words and words[0].isdigit() else None
