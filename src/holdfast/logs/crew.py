"""The logger's helper processes: the archivist, started when there is something to compress or delete, and the shipper,
which lives as long as it is configured.

Invariants: the logger never waits for any of them; they die with it; only the logger renames or deletes a file that
it writes, so what they want done to such files arrives here as an order, one line each. Standard library only.
Called by logger.py.
"""

from __future__ import annotations

import os
import signal
import sys
import time

MODULES = {
    "archivist": "holdfast.logs.archivist",
    "shipper": "holdfast.logs.shipper",
}
FIRST_LOOK_S = 10.0  # after the logger's own start, which others are waiting for
AFTER_ROTATION_S = 2.0  # gathers the rotations of a flood
AGAIN_S = 3600.0  # age and the cap of the node are looked at this often
BACK_OFF_S = (1.0, 60.0)
ORDERS_MAX_BYTES = 65536


class Crew:
    """Pids, due times, and the pipe the orders come through."""

    def __init__(self, home: str, first_look_s: float = FIRST_LOOK_S) -> None:
        self._home = home
        self._pids: dict[str, int] = {}
        self._wanted: tuple[str, ...] = ()
        self._due: dict[str, float] = {"archivist": time.monotonic() + first_look_s}
        self._failures: dict[str, int] = {}
        self._rest = b""
        self._settle_s = min(AFTER_ROTATION_S, first_look_s)
        self.fd, self._orders_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def rotated(self) -> None:
        """There is a file to compress."""
        due = time.monotonic() + self._settle_s
        self._due["archivist"] = min(due, self._due.get("archivist", due))

    def want(self, helpers: tuple[str, ...]) -> None:
        """Which long-lived ones there shall be; those that run and are not wanted any more end by themselves."""
        self._wanted = tuple(name for name in helpers if name in MODULES and name != "archivist")
        for name in self._wanted:
            if name not in self._pids:
                self._due.setdefault(name, time.monotonic())

    def next_due_mono(self) -> float | None:
        return min((due for name, due in self._due.items() if name not in self._pids), default=None)

    def look(self) -> None:
        """Start what is due."""
        now_mono = time.monotonic()
        for name, due in list(self._due.items()):
            if now_mono >= due and name not in self._pids:
                del self._due[name]
                if name == "archivist" or name in self._wanted:
                    self._start(name)

    def reap(self) -> None:
        """Take note of those that ended."""
        for name, pid in list(self._pids.items()):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = pid, 0
            if ended:
                del self._pids[name]
                self._plan_next(name, os.waitstatus_to_exitcode(status))

    def _plan_next(self, name: str, code: int) -> None:
        self._failures[name] = self._failures.get(name, 0) + 1 if code else 0
        pause_s = min(BACK_OFF_S[1], BACK_OFF_S[0] * 2 ** min(self._failures[name], 10))
        if name == "archivist":
            due = time.monotonic() + (pause_s if code else AGAIN_S)
            self._due[name] = min(due, self._due.get(name, due))
        elif name in self._wanted:
            self._due[name] = time.monotonic() + pause_s

    def _start(self, name: str) -> None:
        argv = [sys.executable, "-P", "-m", MODULES[name], "--home", self._home, "--parent", str(os.getpid())]
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self._orders_in, 1),
        ]
        try:
            self._pids[name] = os.posix_spawn(
                sys.executable, argv, os.environ, file_actions=actions, setsigdef=(signal.SIGPIPE,)
            )
        except OSError:
            self._plan_next(name, 1)

    def orders(self) -> list[list[str]]:
        """What was asked since, each as its words. Never blocks."""
        try:
            data = self._rest + os.read(self.fd, ORDERS_MAX_BYTES)
        except BlockingIOError:
            return []
        *lines, self._rest = data.split(b"\n")
        return [line.decode("utf-8", "replace").split(" ") for line in lines]
