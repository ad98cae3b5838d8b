"""What an agent took before it came into its memory group: the group that it was born in is charged for that for good.

A tree is brought into its v1 groups some milliseconds after its birth, and charges stay where they were made. So what
its processes hold beyond what the group says is counted beside it. Invariants: it can only become less, since whatever
comes later is charged to the group; nothing here blocks (statm takes no lock) or raises. Called by memory_v1.
"""

from __future__ import annotations

import os
import time

from holdfast.pods.pausing import Members

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_AGAIN_MIN_S, _AGAIN_MAX_S = 1.0, 60.0  # the kernel sums up a group's counters up to two seconds late
_WEIGHED_FOR_S = 5.0  # who is so small is not weighed at each look
_LITTLE_BYTES = 1024 * 1024  # the least slack of anybody: less is counted, but not worth being weighed often
# Of a tree of several processes: what they inherited is in the figures of all of them, so that their sum says little.
# A runtime that starts takes this much in the milliseconds until the tree is brought in.
MOST_OF_TREE_BYTES = 64 * 1024 * 1024


class Outside:
    """See the module."""

    __slots__ = ("_begun_mono", "_due_mono", "_members", "_proc", "_weighed_bytes", "_weighed_mono", "bytes")

    def __init__(self, members: Members, proc: str = "/proc") -> None:
        self._members = members
        self._proc = proc
        self._begun_mono: float | None = None
        self._due_mono = self._weighed_mono = float("-inf")
        self._weighed_bytes = 0
        self.bytes = 0

    def look(self, group_anon_bytes: int) -> int:
        """Bytes that the group does not hold; weighed again now and then, ever more seldom."""
        now = time.monotonic()
        if now < self._due_mono:  # for ever, where nothing was found: it can only become less
            return self.bytes
        found = outside([self._private(pid) for pid in self._members()], group_anon_bytes)
        if self._begun_mono is None:
            self._begun_mono, self.bytes = now, found
        self.bytes = min(self.bytes, found)
        wait_s = min(_AGAIN_MAX_S, max(_AGAIN_MIN_S, now - self._begun_mono))
        if self.bytes < _LITTLE_BYTES:
            wait_s = _AGAIN_MAX_S if self.bytes else float("inf")
        self._due_mono = now + wait_s
        return self.bytes

    def weighed(self) -> int:
        """What its processes hold, where the group says that they hold nothing: the kernel counts in steps of some
        hundred KB for each CPU, so that of a smaller agent it says 0, and a 0 would be given away."""
        now = time.monotonic()
        if now - self._weighed_mono >= _WEIGHED_FOR_S:
            self._weighed_mono = now
            private = [self._private(pid) for pid in self._members()]
            self._weighed_bytes = max(private, default=0) if sum(private) > _LITTLE_BYTES else sum(private)
        return self._weighed_bytes

    def _private(self, pid: int) -> int:
        try:
            with open(f"{self._proc}/{pid}/statm", "rb", buffering=0) as file:
                fields = file.read(128).split()
            return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES
        except (OSError, ValueError, IndexError):
            return 0


def outside(private: list[int], group_anon_bytes: int) -> int:
    """`private`: what each process has for itself. Pure."""
    beyond = max(0, sum(private) - group_anon_bytes)
    return beyond if len(private) < 2 else min(beyond, max(private), MOST_OF_TREE_BYTES)
