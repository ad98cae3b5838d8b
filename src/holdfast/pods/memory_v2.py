"""An agent's memory in cgroup v2, the reference: memory.high is the ceiling, memory.low and min protect.

A declared limit stays in memory.max. At memory.high the kernel slows the agent down and tells us through memory.events;
page cache at the ceiling is dropped and is no hit. Slowing down alone let agents with many processes take nearly all of
a node while nobody looked (measured: 187 of 192 MB), so without a declared limit memory.max follows the ceiling at some
distance: whoever gets there in spite of it is killed whole, before the kernel has to choose among all.
Invariants: see memory_group.
"""

from __future__ import annotations

import os
import select
from pathlib import Path

from holdfast.node.kept_file import KeptFile, number
from holdfast.pods.memory_group import LOWER_STEP_BYTES, Memory, lowered
from holdfast.pods.pausing import FreezeV2

_REFUSED_KERNEL = (b"kernel_stack", b"pagetables", b"sec_pagetables", b"percpu", b"sock", b"slab_unreclaimable")


# One process is slowed to a crawl at a tenth above its ceiling (the kernel's pauses grow with the square). More than a
# step of lowering, so that a limit is never set below what the group holds.
BACKSTOP_LEAST_BYTES = LOWER_STEP_BYTES * 3 // 2
BACKSTOP_SHARE = 8  # one eighth


class MemoryV2:
    ceilings = True
    notify_mask = select.EPOLLPRI
    __slots__ = ("_current", "_declared", "_directory", "_events", "_frozen", "_high", "_hits", "_kernel_hits", "_last",
                 "_max", "_pause", "_stat")  # fmt: skip

    def __init__(self, directory: Path | str, declared_bytes: int | None) -> None:
        self._declared = declared_bytes
        self._directory = where = str(directory)
        self._stat = KeptFile(where, name="memory.stat")
        self._events = KeptFile(where, name="memory.events")
        self._current = KeptFile(where, name="memory.current")
        # Non-blocking where the kernel knows it (6.16): then lowering never drops page cache in our own time.
        self._high = KeptFile(where, os.O_RDWR | os.O_NONBLOCK, name="memory.high")
        self._max = KeptFile(where, os.O_WRONLY, name="memory.max")
        self._pause = FreezeV2(where)
        self._frozen = self._pause.is_frozen()
        self._hits = self._kernel_hits = 0
        self._last = Memory(False, 0, None, 0, False, 0)
        KeptFile(where, os.O_WRONLY, name="memory.oom.group").write_once("1")

    @property
    def notify_fd(self) -> int | None:
        fd = self._events.fd
        return fd if fd >= 0 else None

    def heard(self) -> None:
        """Reading memory.events, which `read` does, is what makes the descriptor quiet again."""

    def read(self, slack_bytes: int = 0) -> Memory:
        stat, events = self._stat.read(), self._events.read()
        if stat is None or events is None:
            self._last = self._last._replace(there=False)
            return self._last
        used = usage(stat)
        ceiling = self._ceiling()
        told = number(events, b"high") or 0
        if told != self._kernel_hits and ceiling is not None and used >= ceiling - slack_bytes // 8:
            self._hits += max(1, told - self._kernel_hits)
        self._kernel_hits = told
        kills = number(events, b"oom_kill") or 0
        self._last = Memory(True, used, ceiling, self._hits, self._is_frozen(), kills)
        return self._last

    def _ceiling(self) -> int | None:
        value = self._high.read_int()  # None for "max"
        return None if value is None or (self._declared is not None and value >= self._declared) else value

    def set_ceiling(self, ceiling_bytes: int | None) -> bool:
        if ceiling_bytes is None or (self._declared is not None and ceiling_bytes >= self._declared):
            return self._lift()
        value = lowered(ceiling_bytes, self._current.read_int() or 0)
        if self._declared is None:
            self._max.write(str(backstop(value)))
        return self._high.write(str(value)) == 0 and value == ceiling_bytes

    def _lift(self) -> bool:
        if self._declared is None:
            self._max.write("max")
        return self._high.write("max") == 0

    def protect(self, keep_bytes: int, floor_bytes: int) -> bool:
        return write_protection(self._directory, keep_bytes, floor_bytes)

    def freeze(self) -> bool:
        self._frozen = self._pause.freeze()
        return self._frozen

    def thaw(self) -> bool:
        done = self._pause.thaw()
        self._frozen = self._frozen and not done
        return done

    def _is_frozen(self) -> bool:
        """By us, and not freed by init meanwhile; or found so at the beginning. Snapshots' pauses are not ours."""
        if self._frozen:
            self._frozen = self._pause.is_frozen()
        return self._frozen

    def page_out(self) -> int:
        """memory.reclaim (Linux 5.19); the kernel says EAGAIN when it could not find all of it."""
        wanted = usage(self._stat.read() or b"")
        KeptFile(self._directory, os.O_WRONLY, name="memory.reclaim").write_once(str(wanted))
        return wanted

    def release(self) -> None:
        self._lift()
        self.protect(0, 0)
        self.thaw()

    def close(self) -> None:
        for each in (self._stat, self._events, self._current, self._high, self._max):
            each.close()
        self._pause.close()


def backstop(ceiling_bytes: int) -> int:
    """The hard limit above a ceiling that stands in memory.high. Pure."""
    return ceiling_bytes + max(BACKSTOP_LEAST_BYTES, ceiling_bytes // BACKSTOP_SHARE)


def usage(stat: bytes) -> int:
    """Bytes that cannot be dropped, from memory.stat. `kernel` is there since Linux 5.18; its dentries and inodes can
    be dropped like page cache. Pure."""
    kernel = number(stat, b"kernel")
    if kernel is None:
        kernel = sum(number(stat, name) or 0 for name in _REFUSED_KERNEL)
    else:
        kernel = max(0, kernel - (number(stat, b"slab_reclaimable") or 0))
    return (number(stat, b"anon") or 0) + (number(stat, b"shmem") or 0) + kernel


def write_protection(directory: Path | str, keep_bytes: int, floor_bytes: int) -> bool:
    """memory.low and memory.min of a group. They only count as far as each group above grants them: write the sums into
    those too, up to the node's."""
    low = KeptFile(directory, os.O_WRONLY, name="memory.low").write_once(str(max(0, keep_bytes)))
    floor = KeptFile(directory, os.O_WRONLY, name="memory.min").write_once(str(max(0, floor_bytes)))
    return low == 0 and floor == 0
