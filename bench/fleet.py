"""One supervisor with its services while it is measured: the same acts and the same clock for every peer.

Starts are read from the file into which the workload writes first of all; times are CLOCK_MONOTONIC seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from bench import processes
from bench.peers.base import Peer, Service


class Start(NamedTuple):
    """One start of a service as the service itself noted it."""

    name: str
    pid: int
    mono: float


class NotRunning(Exception):
    """A service that should be up is down; the text names it."""


class Fleet:
    """`with Fleet(peer, place, workload, 100) as fleet:` launches, waits for all, and leaves nothing behind."""

    def __init__(
        self,
        peer: Peer,
        place: Path,
        workload: tuple[str, ...],
        count: int,
        *,
        first_port: int | None = None,
        arguments: tuple[str, ...] = ("sleep",),
        settings: Mapping[str, Any] | None = None,
        logs: Path | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self.peer = peer
        self.directory = place / f"{peer.name}{count}"
        self.timeout_s = timeout_s
        self.starts_file = self.directory / "starts"
        self.starts: dict[str, list[Start]] = {}
        self.bring_up_s = 0.0
        self._read_bytes = 0
        self.logs = logs
        self._settings = settings or {}
        self.services = [self._service(workload, index, first_port, arguments) for index in range(count)]

    def _service(
        self, workload: tuple[str, ...], index: int, first_port: int | None, arguments: tuple[str, ...]
    ) -> Service:
        name = f"a{index:04d}"
        argv = (*workload, name, str(self.starts_file))
        if first_port is None:
            return Service(name, (*argv, *arguments), settings=self._settings)
        modes = arguments if arguments[0] == "http" else ("http",)
        port = first_port + index
        return Service(name, (*argv, "http", str(port), *modes[1:]), port, self._settings)

    def __enter__(self) -> Self:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.starts_file.touch()
        self.starts_file.chmod(0o666)  # Holdfast as root runs agents as other users
        begun = time.monotonic()
        try:
            self.peer.launch(self.directory, self.services, self.logs)
            self.wait_all_started(self.timeout_s)
        except BaseException:
            self.close()
            raise
        self.bring_up_s = max(starts[0].mono for starts in self.starts.values()) - begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the supervisor and every service, then remove the files."""
        with contextlib.suppress(processes.TooSlow, processes.CommandFailed, OSError):
            self.peer.end()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            left = [pid for pid in processes.descendants([os.getpid()]) if self._belongs_here(pid)]
            if not left:
                break
            for pid in left:  # parents come first, so nothing is started again
                processes.kill(pid)
            time.sleep(0.02)
        self.peer.tidy()
        shutil.rmtree(self.directory, ignore_errors=True)

    def read_starts(self) -> None:
        """Take in what was written since the last call."""
        with open(self.starts_file, "rb") as file:
            file.seek(self._read_bytes)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(data)
        for line in data.decode().splitlines():
            nanoseconds, pid, name = line.split()
            self.starts.setdefault(name, []).append(Start(name, int(pid), int(nanoseconds) / 1e9))

    def wait_all_started(self, timeout_s: float) -> None:
        """Until every service has started at least once."""

        def all_started() -> bool:
            self.read_starts()
            return len(self.starts) == len(self.services)

        try:
            processes.wait_until(all_started, f"{self.peer.name}: start of all services", timeout_s, 0.05)
        except processes.TooSlow as error:
            raise processes.TooSlow(f"{error}; {len(self.starts)} of {len(self.services)} were up") from None

    def latest(self, name: str) -> Start:
        """The last start known of a service."""
        return self.starts[name][-1]

    def kill(self, *names: str) -> float:
        """kill -9 of the present processes of these services; the time just before the first.

        Raises NotRunning when one is down: its last pid may belong to somebody else by now.
        """
        pids = [self.latest(name).pid for name in names]
        for name, pid in zip(names, pids, strict=True):
            if not self._is_service(pid):
                raise NotRunning(f"{self.peer.name}: {name} is down")
        now = time.monotonic()
        for pid in pids:
            processes.kill(pid)
        return now

    def back_after(self, name: str, killed_mono: float, timeout_s: float = 20.0) -> float:
        """Seconds from the kill to the first act of the successor."""

        def came_back() -> bool:
            self.read_starts()
            return self.latest(name).mono > killed_mono

        processes.wait_until(came_back, f"{self.peer.name}: {name} back", timeout_s)
        return next(start.mono for start in self.starts[name] if start.mono > killed_mono) - killed_mono

    def wait_uptime(self, name: str, seconds: float) -> None:
        """Until the service has been up that long."""
        self.read_starts()
        time.sleep(max(self.latest(name).mono + seconds - time.monotonic(), 0))

    def living(self) -> list[int]:
        """Pids of living services, whoever their parent is now."""
        return [pid for pid in processes.descendants([os.getpid()]) if self._is_service(pid)]

    def living_by_name(self) -> dict[str, list[int]]:
        """Living processes of each service; more than one means it runs twice."""
        found: dict[str, list[int]] = {service.name: [] for service in self.services}
        for pid in self.living():
            argv = processes.argv_of(pid)
            if argv:
                found[argv[argv.index(str(self.starts_file)) - 1]].append(pid)
        return found

    def supervisor_pids(self) -> list[int]:
        """Every process of the supervisor itself."""
        return [pid for pid in processes.descendants(self.peer.roots()) if not self._is_service(pid)]

    def _belongs_here(self, pid: int) -> bool:
        """Whether a process was started for this fleet: its command line or its directory says so."""
        if pid == os.getpid():
            return False
        here = str(self.directory)
        try:
            if os.readlink(f"/proc/{pid}/cwd").startswith(here):
                return True
        except OSError:
            pass
        return any(here in argument for argument in processes.argv_of(pid))

    def _is_service(self, pid: int) -> bool:
        argv = processes.argv_of(pid)
        return str(self.starts_file) in argv and argv[0] == self.services[0].argv[0]
