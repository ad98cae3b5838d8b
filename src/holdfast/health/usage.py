"""What each agent uses: memory by files kept open, the rest by one look now and then.

Memory is one pread per agent and pass, and safe against pid reuse, because the file of a dead process answers ESRCH
for ever, never with somebody else's number. The source is the pod's memory cgroup where there is one, less what the
kernel can drop at once (page cache), as of the last look; else the main process, and the others as of the last look.
A look reads a handful of small files of one agent. What cannot be known is None, never a guess.
Used by keeper.resources, and by the health loop for the CPU of a start.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from holdfast import limits
from holdfast.node import processes
from holdfast.node.processes import Stat

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CGROUP_FILES = ("memory.current", "memory.usage_in_bytes")
# What is given up before anything dies: v1 counts children in the total_ ones, v2 always does.
_DROPPABLE = {
    "memory.current": (b"\ninactive_file ", b"\nactive_file ", b"\nslab_reclaimable "),
    "memory.usage_in_bytes": (b"\ntotal_inactive_file ", b"\ntotal_active_file "),
}


class Look(NamedTuple):
    """One agent's use. `cpu_s`: seconds used so far, comparable with the next look of the same instance."""

    used_bytes: int | None = None
    cpu_s: float | None = None
    processes: int | None = None
    descriptors: int | None = None  # of that of its processes which has most
    descriptors_limit: int | None = None


class _Source:
    """What is kept of one watched instance."""

    __slots__ = ("directories", "droppable_bytes", "fd", "is_statm", "limit", "others_bytes", "pid", "stat_path")

    def __init__(self, pid: int, directories: tuple[str, ...], fd: int, is_statm: bool, stat_path: str) -> None:
        self.pid = pid
        self.directories = directories
        self.fd = fd
        self.is_statm = is_statm
        self.stat_path = stat_path
        self.droppable_bytes = 0  # of the cgroup, at the last look
        self.others_bytes = 0  # beside the main process, at the last look
        self.limit: int | None = None  # on open files


class Usage:
    """The open sources. It forgets nothing by itself: call `drop` when an instance is gone."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}

    def watch(self, agent: str, pid: int, cgroup_dirs: tuple[str, ...] = ()) -> bool:
        """(Re)open the source of an agent's instance. False when there is none (the process is gone already)."""
        self.drop(agent)
        for directory in cgroup_dirs:
            for name in _CGROUP_FILES:
                with contextlib.suppress(OSError):
                    fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                    self._sources[agent] = _Source(pid, cgroup_dirs, fd, False, f"{directory}/memory.stat")
                    return True
        with contextlib.suppress(OSError):
            fd = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
            self._sources[agent] = _Source(pid, cgroup_dirs, fd, True, "")
            return True
        return False

    def watched(self) -> list[str]:
        return list(self._sources)

    def drop(self, agent: str) -> None:
        source = self._sources.pop(agent, None)
        if source is not None:
            os.close(source.fd)

    def close(self) -> None:
        for agent in list(self._sources):
            self.drop(agent)

    def rss_bytes(self) -> dict[str, int]:
        """Bytes in use now, for every agent that can be read; a dead one is left out."""
        found: dict[str, int] = {}
        for agent, source in self._sources.items():
            used = _used(source)
            if used is not None:
                found[agent] = used
        return found

    def look(self, agent: str, everyone: Mapping[int, Sequence[Stat]] | None = None) -> Look | None:
        """Read one agent's files. `everyone`: trees by their root's pid, where no cgroup tells who belongs to it.

        None when the agent is not watched. Reads nothing that may block on a stuck process.
        """
        source = self._sources.get(agent)
        if source is None:
            return None
        told = _members(source.directories)
        tree = None if told is not None or everyone is None else everyone.get(source.pid, ())
        pids = told if told is not None else [each.pid for each in tree] if tree is not None else [source.pid]
        if source.is_statm:
            sizes = [each.rss_bytes for each in tree or () if each.pid != source.pid]
            if tree is None:
                sizes = [_statm_bytes(pid) for pid in pids[: limits.LOOK_PROCESSES_MAX] if pid != source.pid]
            source.others_bytes = sum(sizes)
        else:
            source.droppable_bytes = _droppable(source)
        cpu = _cgroup_cpu_s(source.directories)
        if cpu is None:
            cpu = sum(each.cpu_s for each in tree) if tree else _sum_cpu_s(pids[: limits.LOOK_PROCESSES_MAX])
        if source.limit is None:
            source.limit = _nofile_limit(source.pid)
        counts = [n for pid in pids[: limits.LOOK_DESCRIPTORS_OF] if (n := descriptors(pid)) is not None]
        known = told is not None or tree is not None
        return Look(_used(source), cpu, len(pids) if known else None, max(counts, default=None), source.limit)


def _used(source: _Source) -> int | None:
    try:
        text = os.pread(source.fd, 128, 0)
    except OSError:  # ESRCH: the process is gone; ENODEV: its cgroup is
        return None
    if not source.is_statm:
        return max(0, int(text) - source.droppable_bytes)
    pages = int(text.split(b" ", 2)[1])  # a zombie holds nothing and says 0
    return pages * _PAGE_BYTES + source.others_bytes if pages else None


def _droppable(source: _Source) -> int:
    names = _DROPPABLE["memory.usage_in_bytes"]
    text = b"\n" + _read(source.stat_path)
    if names[0] not in text:
        names = _DROPPABLE["memory.current"]
    found = 0
    for name in names:
        at = text.find(name)
        if at >= 0:
            found += int(text[at + len(name) : text.index(b"\n", at + len(name))])
    return found


def _read(path: str) -> bytes:
    """b"" when there is no such file (any more)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 65_536)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _members(directories: Sequence[str]) -> list[int] | None:
    """The pids in the agent's first cgroup; None without one."""
    for directory in directories:
        text = _read(f"{directory}/cgroup.procs")
        if text:
            return [int(word) for word in text.split() if word.isdigit()]
    return None


def _statm_bytes(pid: int) -> int:
    fields = _read(f"/proc/{pid}/statm").split(b" ", 2)
    return int(fields[1]) * _PAGE_BYTES if len(fields) == 3 else 0


def _cgroup_cpu_s(directories: Sequence[str]) -> float | None:
    for directory in directories:
        text = _read(f"{directory}/cpu.stat")
        if text.startswith(b"usage_usec "):
            return int(text.split(b"\n", 1)[0].split()[1]) / 1e6
        text = _read(f"{directory}/cpuacct.usage")
        if text:
            return int(text) / 1e9
    return None


def _sum_cpu_s(pids: Sequence[int]) -> float | None:
    used = [found for each in pids if (found := processes.cpu_s(each)) is not None]
    return sum(used) if used else None


def descriptors(pid: int) -> int | None:
    """How many files a process has open; None when it may not be looked into. One stat() since Linux 6.2."""
    path = f"/proc/{pid}/fd"
    try:
        return os.stat(path).st_size or len(os.listdir(path))
    except OSError:
        return None


def _nofile_limit(pid: int) -> int | None:
    """The soft limit, which is what open() fails at."""
    for line in _read(f"/proc/{pid}/limits").split(b"\n"):
        if line.startswith(b"Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def trees(roots: Sequence[int]) -> dict[int, list[Stat]]:
    """The trees below these processes by parentage, from one walk of /proc. Belongs into a thread."""
    everyone = [found for pid in processes.pids() if (found := processes.stat(pid)) is not None]
    children: dict[int, list[Stat]] = {}
    by_pid = {each.pid: each for each in everyone}
    for each in everyone:
        children.setdefault(each.ppid, []).append(each)
    below: dict[int, list[Stat]] = {}
    for root in roots:
        queue = [by_pid[root]] if root in by_pid else []
        for each in queue:  # grows while it is walked
            queue.extend(children.get(each.pid, ()))
        below[root] = queue
    return below


def cpu_s(pid: int, cgroup: str | None = None) -> float | None:
    """CPU seconds used so far by all processes of the instance and the children they waited for. None: it is gone.

    Summed over the processes in the cgroup, since its own count goes on from one instance to the next.
    """
    pids: list[int] = []
    if cgroup is not None:
        with contextlib.suppress(OSError, ValueError):
            pids = [int(word) for word in Path(cgroup, "cgroup.procs").read_text().split()]
    return _sum_cpu_s(pids or [pid])
