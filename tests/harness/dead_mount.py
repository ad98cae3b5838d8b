"""A mount that answers nobody: FUSE, with a program behind it that never reads a request."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_DETACH = 2


class DeadMount:
    """Whoever looks into `path` waits until `close`. Raises OSError where it cannot be made (no root, no FUSE)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if _LIBC.mount(b"dead", os.fsencode(path), b"fuse", 0, options) != 0:
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), f"{path} could not be mounted")

    def close(self) -> None:
        """Everybody who waits is let go with an error."""
        if self._fd >= 0:
            os.close(self._fd)
            _LIBC.umount2(os.fsencode(self.path), _DETACH)
            self._fd = -1


def why_not() -> str:
    """Why no such mount can be made here, "" when it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "mounting needs root"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        return f"no FUSE here: {error.strerror}"
    flags = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return "" if int(flags.split()[1], 16) >> 21 & 1 else "mounting is not allowed here"
