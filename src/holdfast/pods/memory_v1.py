"""An agent's memory in cgroup v1: limit_in_bytes below the declared limit is the ceiling, and at it the kernel waits.

Only for agents that may be shed: at the ceiling page faults wait, but fork, pipe and tmpfs writes fail. Before the
first ceiling oom_kill_disable is set and an eventfd is registered, so that reaching it kills nobody and wakes us;
without a ceiling both are taken back. What the agent took before it came into the group counts as well, and the limit
is so much lower than the ceiling. Freezing goes through whatever tracks the agent: v2, the freezer, or signals.
Invariants: see memory_group.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

from holdfast.node.kept_file import KeptFile, number
from holdfast.pods.memory_group import Memory, lowered
from holdfast.pods.memory_outside import Outside
from holdfast.pods.page_out import page_out
from holdfast.pods.pausing import Members, Pause

_UNLIMITED_BYTES = 1 << 60  # "no limit" is a number near 2^63


class MemoryV1:
    ceilings = True
    notify_mask = select.EPOLLIN
    __slots__ = ("_declared", "_directory", "_eventfd", "_frozen", "_hits", "_kernel", "_last", "_limit", "_members",
                 "_oom", "_outside", "_pause", "_stat")  # fmt: skip

    def __init__(self, directory: Path | str, declared_bytes: int | None, pause: Pause, members: Members) -> None:
        self._declared = declared_bytes
        self._directory = where = str(directory)
        self._stat = KeptFile(where, name="memory.stat")
        self._kernel = KeptFile(where, name="memory.kmem.usage_in_bytes")
        self._limit = KeptFile(where, os.O_RDWR, name="memory.limit_in_bytes")
        self._oom = KeptFile(where, os.O_RDWR, name="memory.oom_control")
        self._pause = pause
        self._members = members
        self._outside = Outside(members)
        self._eventfd = -1
        self._frozen = self._pause.is_frozen()
        self._hits = 0
        self._last = Memory(False, 0, None, 0, False, 0)
        if self._ceiling() is not None:  # of one before us, whose eventfd went with it
            self._arm()

    @property
    def notify_fd(self) -> int | None:
        return self._eventfd if self._eventfd >= 0 else None

    def heard(self) -> None:
        with contextlib.suppress(OSError):
            os.eventfd_read(self._eventfd)
            self._hits += 1

    def read(self, slack_bytes: int = 0) -> Memory:
        stat, oom = self._stat.read(), self._oom.read()
        if stat is None or oom is None:
            self._last = self._last._replace(there=False)
            return self._last
        outside = self._outside.look(number(stat, b"total_rss") or 0)
        ceiling = self._ceiling()
        if ceiling is not None and number(oom, b"oom_kill_disable") != 1:
            self._arm()  # init let go of it while we said nothing
        if ceiling is not None and number(oom, b"under_oom"):
            self._hits += 1
        used = usage(stat) + (self._kernel.read_int() or 0) + outside or self._outside.weighed()
        self._last = Memory(True, used, ceiling, self._hits, self._is_frozen(), number(oom, b"oom_kill") or 0)
        return self._last

    def _ceiling(self) -> int | None:
        most = _UNLIMITED_BYTES if self._declared is None else self._declared // 4096 * 4096
        value = self._limit.read_int()
        return None if value is None or value >= most else value + self._outside.bytes

    def set_ceiling(self, ceiling_bytes: int | None) -> bool:
        if ceiling_bytes is None or (self._declared is not None and ceiling_bytes >= self._declared):
            return self._lift()
        if not self._arm():
            return False
        aim = max(0, ceiling_bytes - self._outside.bytes)
        total = KeptFile(self._directory, name="memory.usage_in_bytes")
        value = lowered(aim, total.read_int() or 0)
        total.close()
        return self._limit.write(str(value)) == 0 and value == aim  # EBUSY: it holds more; ask again

    def _arm(self) -> bool:
        if self._eventfd < 0:
            eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            control = KeptFile(self._directory, os.O_WRONLY, name="cgroup.event_control")
            if self._oom.fd < 0 or control.write_once(f"{eventfd} {self._oom.fd}") != 0:
                os.close(eventfd)
                return False
            self._eventfd = eventfd
        if number(self._oom.read() or b"", b"oom_kill_disable") == 1:
            return True
        return self._oom.write("1") == 0

    def _lift(self) -> bool:
        """Room first, so that whoever waits goes on; then the kernel may kill at the declared limit again."""
        raised = self._limit.write(str(-1 if self._declared is None else self._declared)) == 0
        allowed = self._oom.write("0") == 0
        return raised and allowed

    def protect(self, keep_bytes: int, floor_bytes: int) -> bool:
        """v1 has nothing that protects: the ceilings of the others do."""
        return True

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
        return page_out(self._members())

    def release(self) -> None:
        self._lift()
        self.thaw()

    def close(self) -> None:
        if self._eventfd >= 0:
            os.close(self._eventfd)
            self._eventfd = -1
        for each in (self._stat, self._kernel, self._limit, self._oom):
            each.close()
        self._pause.close()


def usage(stat: bytes) -> int:
    """Anonymous and shared memory of the group and all below it, from memory.stat; kernel memory has a file of its own.
    Before Linux 4.20 shared memory is only known as far as it is mapped. Pure."""
    shared = number(stat, b"total_shmem")
    if shared is None:
        shared = 0 if number(stat, b"total_cache") is None else number(stat, b"total_mapped_file") or 0
    return (number(stat, b"total_rss") or 0) + shared
