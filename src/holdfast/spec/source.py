"""Files as bounded UTF-8 text: the one way in which this package reads the disk.

Invariant: never blocks on a FIFO, never reads more than asked for, never raises anything but Unreadable.
Called by `load.py` and `envfile.py`.
"""

from __future__ import annotations

import errno
import os
import stat


class Unreadable(Exception):
    """Why a file cannot be read, in words. `missing`: there is no such file. `line`: where bytes are not UTF-8."""

    def __init__(self, reason: str, *, missing: bool = False, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.missing = missing
        self.line = line


def read_text(path: str, max_bytes: int) -> str:
    """The whole file, with a leading byte-order mark dropped and CRLF kept. Raises Unreadable."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError:
        raise Unreadable("its name holds a NUL character") from None
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        raise Unreadable((error.strerror or "error").lower(), missing=missing) from None
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise Unreadable("it is a directory")
        if not stat.S_ISREG(mode):
            raise Unreadable("it is not a regular file")
        data = _all(fd, max_bytes)
    except OSError as error:
        raise Unreadable((error.strerror or "error").lower()) from None
    finally:
        os.close(fd)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"the byte 0x{data[error.start]:02x}", line=line) from None


def _all(fd: int, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := os.read(fd, 262_144):
        parts.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise Unreadable(f"it is larger than {max_bytes} bytes")
    return b"".join(parts)
