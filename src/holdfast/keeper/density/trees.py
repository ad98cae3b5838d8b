"""Who belongs to which agent where no cgroup says so: one walk over the process table for all of them.

Children belong to whom their parent belongs, and stay with it when the parent dies; what lost its parents before it was
seen is told by its session, or by the instance its environment names. Invariants: a number that another process has
taken belongs to nobody of ours; nothing here raises. Called by the memory groups, as often as they are read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from holdfast.init.protocol import INSTANCE_ENV

CHECK_S = 5.0  # how often it is looked whether a known number is still the same process


class _Known:
    __slots__ = ("agent", "starttime")

    def __init__(self, agent: str, starttime: int) -> None:
        self.agent = agent  # "": nobody's
        self.starttime = starttime


class Trees:
    """`mains`: pid and start time of each agent's main process."""

    def __init__(self, home_id: str, proc: str = "/proc") -> None:
        self._home_id = home_id
        self._proc = proc
        self._known: dict[int, _Known] = {}
        self._members: dict[str, list[int]] = {}
        self._mains: dict[int, tuple[str, int]] = {}
        self._reapers: set[int] = set()
        self._checked_mono = float("-inf")

    def of(self, agent: str) -> list[int]:
        """Living processes, as of the last walk."""
        return self._members.get(agent, [])

    def walk(self, mains: Mapping[str, tuple[int, int]], now: float) -> None:
        """Look at the process table. Only who is new is read."""
        wanted = {pid: (agent, starttime) for agent, (pid, starttime) in mains.items() if pid}
        if wanted != self._mains:
            self._mains = wanted
            for pid in wanted:
                self._known.pop(pid, None)  # it may have been seen before it was known whose it is
        self._reapers = {os.getppid()}  # init, which is another one after its own death
        try:
            alive = [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        except OSError:
            return
        check = now - self._checked_mono >= CHECK_S
        self._checked_mono = now if check else self._checked_mono
        for gone in self._known.keys() - set(alive):
            del self._known[gone]
        for pid in sorted(alive):  # parents mostly come before their children
            known = self._known.get(pid)
            if known is None or check:
                self._place(pid, known, 0)
        members: dict[str, list[int]] = {}
        for pid, known in self._known.items():
            if known.agent:
                members.setdefault(known.agent, []).append(pid)
        self._members = members

    def _place(self, pid: int, before: _Known | None, depth: int) -> str:
        """Whose it is; remembered."""
        fields = self._stat(pid)
        if fields is None:
            self._known.pop(pid, None)
            return ""
        ppid, session, starttime = fields
        if before is not None and before.starttime == starttime:
            return before.agent
        agent = self._whose(pid, ppid, session, starttime, depth)
        self._known[pid] = _Known(agent, starttime)
        return agent

    def _whose(self, pid: int, ppid: int, session: int, starttime: int, depth: int) -> str:
        main = self._mains.get(pid)
        if main is not None and main[1] in (0, starttime):
            return main[0]
        if not self._mains:
            return ""
        parent = self._known.get(ppid)
        if parent is None and ppid > 1 and depth < 64:
            agent = self._place(ppid, None, depth + 1)
        else:
            agent = parent.agent if parent is not None else ""
        if agent:
            return agent
        if session in self._mains:
            return self._mains[session][0]
        return self._told(pid) if ppid in self._reapers else ""

    def _told(self, pid: int) -> str:
        """By its environment: asked once, and only of whom init took in because its parents are dead."""
        try:
            environ = Path(f"{self._proc}/{pid}/environ").read_bytes()
        except OSError:
            return ""
        _, found, rest = (b"\0" + environ).partition(f"\0{INSTANCE_ENV}={self._home_id}:".encode())
        agent = rest.partition(b"\0")[0].rpartition(b":")[0].decode("utf-8", "replace") if found else ""
        return agent if any(agent == name for name, _ in self._mains.values()) else ""

    def _stat(self, pid: int) -> tuple[int, int, int] | None:
        """Parent, session and start time; None for who is gone or a zombie."""
        try:
            with open(f"{self._proc}/{pid}/stat", "rb", buffering=0) as file:
                rest = file.read(512).rpartition(b") ")[2].split()
            return None if rest[0] in (b"Z", b"X") else (int(rest[1]), int(rest[3]), int(rest[19]))
        except (OSError, IndexError, ValueError):
            return None
