"""inotify through ctypes: which directories changed. Standard library only. Called by logger.py and read.py.

Invariant: events are hints. The logger looks at a directory as it is when something happened there, so a missed or
doubled event does no harm; an overflow asks for a full look.
"""

from __future__ import annotations

import ctypes
import os
import struct

IN_CREATE, IN_DELETE, IN_DELETE_SELF = 0x100, 0x200, 0x400
IN_MOVED_FROM, IN_MOVED_TO, IN_MOVE_SELF = 0x40, 0x80, 0x800
IN_Q_OVERFLOW, IN_IGNORED, IN_ONLYDIR = 0x4000, 0x8000, 0x01000000
NAMES = IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF | IN_ONLYDIR

_EVENT = struct.Struct("iIII")


class Watch:
    """One inotify descriptor, non-blocking. Raises OSError when the kernel gives none (EMFILE, ENOSYS)."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def add(self, path: str) -> int:
        """Watch a directory's names. Returns the watch's number; raises OSError (ENOSPC: no watches left)."""
        return self._checked(self._libc.inotify_add_watch(self.fd, os.fsencode(path), NAMES))

    def remove(self, number: int) -> None:
        self._libc.inotify_rm_watch(self.fd, number)

    def close(self) -> None:
        """All watches end. Once only."""
        os.close(self.fd)

    def events(self) -> list[tuple[int, int, str]]:
        """What happened: (watch, mask, name), empty when nothing did."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return []
        found: list[tuple[int, int, str]] = []
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            found.append((number, mask, os.fsdecode(data[at : at + length].rstrip(b"\0"))))
            at += length
        return found
