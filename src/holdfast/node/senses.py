"""What is felt of the node: clocks, disks, interfaces. The one place where they are read for the keeper's watch.

Invariant: reading changes nothing, and what cannot be read is left out. `disks` may block on a dead mount: it belongs
into a thread. Used by keeper.node_watch; a test puts something else in its place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from holdfast.node import network


class Disk(NamedTuple):
    """A filesystem. `path`: its mount point, as far as that can be told; `share`: used, of room or of files."""

    path: str
    share: float
    free_bytes: int
    total_bytes: int
    files_left: bool  # False: no new file can be made
    users: tuple[str, ...]  # keys of those who asked for a path on it


def clocks() -> tuple[float, float]:
    """Monotonic clock, which stands still while the machine sleeps, and boot time, which does not; seconds."""
    return time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)


def disks(paths: Mapping[str, Sequence[str]]) -> list[Disk]:
    """The filesystems below the paths of each key, each once."""
    users: dict[int, tuple[str, list[str]]] = {}
    for key, wanted in paths.items():
        for path in wanted:
            try:
                device = os.stat(path).st_dev
            except OSError:
                continue
            _, known = users.setdefault(device, (path, []))
            if key not in known[-1:]:
                known.append(key)
    found = []
    for path, known in users.values():
        try:
            found.append(_disk(path, tuple(dict.fromkeys(known))))
        except OSError:
            continue
    return found


def _disk(path: str, users: tuple[str, ...]) -> Disk:
    status = os.statvfs(path)
    used = status.f_blocks - status.f_bfree
    room = used + status.f_bavail  # as df counts: blocks reserved for root are nobody's
    share = used / room if room else 0.0
    if status.f_files:
        files_used = status.f_files - status.f_ffree
        share = max(share, files_used / max(1, files_used + status.f_favail))
    files_left = not status.f_files or status.f_favail > 0
    total = room * status.f_frsize
    return Disk(_mount_point(path), share, status.f_bavail * status.f_frsize, total, files_left, users)


def _mount_point(path: str) -> str:
    current = os.path.realpath(path)
    device = os.stat(current).st_dev
    while current != "/":
        parent = os.path.dirname(current)
        if os.stat(parent).st_dev != device:
            break
        current = parent
    return current


def traffic(mono: float) -> network.Traffic | None:
    """Of all interfaces but loopback."""
    return network.read_traffic(None, mono)


def loopback_is_up() -> bool | None:
    return network.loopback_is_up()
