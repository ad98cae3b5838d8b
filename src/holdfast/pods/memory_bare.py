"""An agent's memory where no cgroup holds it: the sum over its processes, and nothing but our own speed.

There is no ceiling: whoever outruns its lease is paused by us, which density decides. statm says in one
microsecond what a process has for itself; shared memory is asked for only when what it shares has grown, since that
costs twenty. Memory shared among its processes is counted once, as the largest of theirs. Invariants: see memory_group.
"""

from __future__ import annotations

import os

from holdfast.node.kept_file import KeptFile, number
from holdfast.pods.memory_group import Memory
from holdfast.pods.page_out import page_out
from holdfast.pods.pausing import Members, Pause, Signals

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SHARED_STEP_BYTES = 4 * 1024 * 1024  # growth of the shared part that is worth a look into status


class _Process:
    """The kept-open statm of one process, which a later process with its pid can never be."""

    __slots__ = ("_file", "_looked_bytes", "_status", "private_bytes", "shared_bytes")

    def __init__(self, directory: str) -> None:
        self._file = KeptFile(f"{directory}/statm", again=False)
        self._status = f"{directory}/status"
        self._looked_bytes = -_SHARED_STEP_BYTES
        self.private_bytes = self.shared_bytes = 0

    def look(self) -> bool:
        """False when it is gone, or a zombie."""
        fields = (self._file.read() or b"").split()
        if len(fields) < 3 or fields[0] == b"0":
            return False
        shared = int(fields[2]) * _PAGE_BYTES
        self.private_bytes = int(fields[1]) * _PAGE_BYTES - shared
        if abs(shared - self._looked_bytes) >= _SHARED_STEP_BYTES:
            self._looked_bytes = shared
            status = KeptFile(self._status)
            self.shared_bytes = 1024 * (number((status.read() or b"").replace(b"\t", b" "), b"RssShmem:") or 0)
            status.close()
        return True

    def close(self) -> None:
        self._file.close()


class MemoryBare:
    ceilings = False
    notify_mask = 0
    __slots__ = ("_frozen", "_last", "_members", "_pause", "_proc", "_processes")

    def __init__(self, members: Members, proc: str = "/proc", pause: Pause | None = None) -> None:
        self._members = members
        self._proc = proc
        self._processes: dict[int, _Process] = {}
        self._pause = pause or Signals(members)
        self._frozen = self._pause.is_frozen()
        self._last = Memory(False, 0, None, 0, False, 0)

    @property
    def notify_fd(self) -> int | None:
        return None

    def heard(self) -> None:
        pass

    def read(self, slack_bytes: int = 0) -> Memory:
        alive = list(self._members())
        for pid in self._processes.keys() - set(alive):
            self._processes.pop(pid).close()
        private = shared = 0
        there = False
        for pid in alive:
            process = self._processes.get(pid)
            if process is None:
                process = self._processes[pid] = _Process(f"{self._proc}/{pid}")
            if not process.look():
                self._processes.pop(pid).close()
                continue
            there = True
            private += process.private_bytes
            shared = max(shared, process.shared_bytes)
        used = private + shared if there else self._last.usage_bytes
        self._last = Memory(there, used, None, 0, self._is_frozen(), 0)
        return self._last

    def set_ceiling(self, ceiling_bytes: int | None) -> bool:
        return ceiling_bytes is None

    def protect(self, keep_bytes: int, floor_bytes: int) -> bool:
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
        if self._is_frozen():
            self.thaw()

    def close(self) -> None:
        for process in self._processes.values():
            process.close()
        self._processes.clear()
        self._pause.close()
