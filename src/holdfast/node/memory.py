"""How large the node's memory is and what of it could still be given: the machine's, or that of one memory cgroup.

Available counts page cache as given; what is dirty or under write-back is not, since it cannot be dropped now. A group
never has more available than the machine. Kept-open files; two to four microseconds each. Called by who feeds density.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from holdfast.node.kept_file import KeptFile, number

_UNLIMITED_BYTES = 1 << 60  # v1 writes "no limit" as a number near 2^63


class NodeReading(NamedTuple):
    """In bytes. `swap_free_bytes` 0 where there is none."""

    total_bytes: int
    available_bytes: int
    swap_free_bytes: int


class NodeMemory:
    """`group`: the memory cgroup that is the node, of either version; None: the machine."""

    def __init__(self, group: Path | None = None, meminfo: Path = Path("/proc/meminfo")) -> None:
        self._meminfo = KeptFile(meminfo)
        self._last: NodeReading | None = None
        self._limit = self._current = self._stat = None
        self._v2 = False
        if group is not None:
            self._v2 = (group / "memory.current").exists()
            names = ("memory.max", "memory.current") if self._v2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
            self._limit, self._current = KeptFile(group / names[0]), KeptFile(group / names[1])
            self._stat = KeptFile(group / "memory.stat")

    def read(self) -> NodeReading | None:
        """None only when nothing could ever be read; else the last known."""
        machine = parse_meminfo(self._meminfo.read() or b"")
        if machine is None:
            return self._last
        self._last = self._of_group(machine) or machine
        return self._last

    def _of_group(self, machine: NodeReading) -> NodeReading | None:
        if self._limit is None or self._current is None or self._stat is None:
            return None
        limit, current, stat = self._limit.read_int(), self._current.read_int(), self._stat.read()
        if limit is None or limit >= _UNLIMITED_BYTES or current is None or stat is None:
            return None
        left = limit - current + droppable(stat, self._v2)
        return NodeReading(
            min(limit, machine.total_bytes), max(0, min(left, machine.available_bytes)), machine.swap_free_bytes
        )

    def close(self) -> None:
        for each in (self._meminfo, self._limit, self._current, self._stat):
            if each is not None:
                each.close()


def droppable(stat: bytes, v2: bool) -> int:
    """Page cache of a whole group that can be dropped at once, from its memory.stat. Pure."""
    prefix = b"" if v2 else b"total_"
    dirty, writeback = (b"file_dirty", b"file_writeback") if v2 else (b"total_dirty", b"total_writeback")
    files = sum(number(stat, prefix + name) or 0 for name in (b"inactive_file", b"active_file"))
    return max(0, files - (number(stat, dirty) or 0) - (number(stat, writeback) or 0))


def parse_meminfo(text: bytes) -> NodeReading | None:
    """From /proc/meminfo; before Linux 3.14 without MemAvailable: free and cached, which is too much. Pure."""
    text = text.replace(b" kB", b"")
    total, available = number(text, b"MemTotal:"), number(text, b"MemAvailable:")
    if total is None:
        return None
    if available is None:
        available = (number(text, b"MemFree:") or 0) + (number(text, b"Cached:") or 0)
    return NodeReading(total * 1024, available * 1024, (number(text, b"SwapFree:") or 0) * 1024)
