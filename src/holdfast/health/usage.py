"""How much memory each agent uses, read once a second for all of them; CPU on request.

Every source is a file kept open: one pread per agent and pass, and safe against pid reuse, because the file of a dead
process answers ESRCH for ever, never with somebody else's number. The source is the pod's memory cgroup where there is
one, else the main process. Used by the keeper's health loop.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from holdfast.node import processes

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CGROUP_FILES = ("memory.current", "memory.usage_in_bytes")


class Usage:
    """The open sources. `rss_bytes` forgets nothing by itself: call `drop` when an instance is gone."""

    def __init__(self) -> None:
        self._sources: dict[str, tuple[int, bool]] = {}  # agent -> open file, whether it is a statm

    def watch(self, agent: str, pid: int, cgroup_dirs: tuple[str, ...] = ()) -> bool:
        """(Re)open the source of an agent's instance. False when there is none (the process is gone already)."""
        self.drop(agent)
        for directory in cgroup_dirs:
            for name in _CGROUP_FILES:
                with contextlib.suppress(OSError):
                    self._sources[agent] = (os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC), False)
                    return True
        with contextlib.suppress(OSError):
            self._sources[agent] = (os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC), True)
            return True
        return False

    def drop(self, agent: str) -> None:
        source = self._sources.pop(agent, None)
        if source is not None:
            os.close(source[0])

    def close(self) -> None:
        for agent in list(self._sources):
            self.drop(agent)

    def rss_bytes(self) -> dict[str, int]:
        """Bytes in use now, for every agent that can be read; a dead one is left out."""
        found: dict[str, int] = {}
        pread = os.pread
        for agent, (fd, is_statm) in self._sources.items():
            try:
                text = pread(fd, 128, 0)
            except OSError:  # ESRCH: the process is gone; ENODEV: its cgroup is
                continue
            if is_statm:
                pages = int(text.split(b" ", 2)[1])
                if pages:  # a zombie holds nothing and says 0
                    found[agent] = pages * _PAGE_BYTES
            else:
                found[agent] = int(text)
        return found


def cpu_s(pid: int, cgroup: str | None = None) -> float | None:
    """CPU seconds used so far by all processes of the instance and the children they waited for. None: it is gone.

    Summed over the processes in the cgroup, since its own count goes on from one instance to the next.
    """
    pids: list[int] = []
    if cgroup is not None:
        with contextlib.suppress(OSError, ValueError):
            pids = [int(word) for word in Path(cgroup, "cgroup.procs").read_text().split()]
    used = [found for each in pids or [pid] if (found := processes.cpu_s(each)) is not None]
    return sum(used) if used else None
