"""Move what idle processes hold out to swap or zram, where no cgroup can be asked to: process_madvise(MADV_PAGEOUT).

They go on running and page back in what they touch. Without swap the kernel does nothing. Reading a map may wait for a
stuck process: belongs into a thread. Needs Linux 5.10 and the right to trace them. Called by memory_v1 and memory_bare.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

_PROCESS_MADVISE = 440  # the same number on every architecture
_MADV_PAGEOUT = 21
_RANGES_MAX = 512  # of the kernel's 1,024 in one call


def page_out(pids: Iterable[int]) -> int:
    """Bytes of anonymous memory the kernel was asked to page out; 0 when it does not know how, or may not."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            pidfd = os.pidfd_open(pid)
            try:
                total += _of_one(pidfd, list(anonymous(Path(f"/proc/{pid}/maps").read_text())))
            finally:
                os.close(pidfd)
    return total


def anonymous(maps: str) -> Iterator[tuple[int, int]]:
    """(address, length) of private writable memory without a file behind it, from /proc/PID/maps. Pure."""
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 5 or fields[1] != "rw-p" or fields[4] != "0":
            continue
        first, _, last = fields[0].partition("-")
        yield int(first, 16), int(last, 16) - int(first, 16)


def _of_one(pidfd: int, ranges: list[tuple[int, int]]) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    total = 0
    for start in range(0, len(ranges), _RANGES_MAX):
        part = ranges[start : start + _RANGES_MAX]
        vector = ctypes.create_string_buffer(b"".join(struct.pack("NN", *one) for one in part))
        done = call(_PROCESS_MADVISE, pidfd, vector, ctypes.c_size_t(len(part)), _MADV_PAGEOUT, 0)
        if done < 0:
            break
        total += done
    return total
