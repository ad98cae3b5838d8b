"""One home with a real guard and init, spoken to by the protocol like a keeper would."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdfast.home import Home
from holdfast.init import journal, launch, procfs

PATIENCE_S = 90.0  # a loaded machine of two cores may need most of it


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition`; fails the test with `what` when it never comes."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"never happened: {what}")


def wipe(path: Path) -> None:
    """Delete a directory in which somebody may still be making files."""

    def gone() -> bool:
        with contextlib.suppress(OSError):
            shutil.rmtree(path)
        return not path.exists()

    wait_until(gone, f"{path} is gone")


class Peer:
    """A keeper's connection to init."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("rwb")
        self.events: list[dict[str, Any]] = []
        self.number = 0

    def ask(self, **message: Any) -> dict[str, Any]:
        self.number += 1
        self.file.write(json.dumps({**message, "id": self.number}).encode() + b"\n")
        self.file.flush()
        while True:
            answer = self._read()
            if answer.get("re") == self.number:
                return answer
            self.events.append(answer)

    def wait(self, **match: Any) -> dict[str, Any]:
        """The next event whose fields equal `match`; earlier ones stay."""
        start = 0
        while True:
            for index in range(start, len(self.events)):
                event = self.events[index]
                if all(event.get(key) == value for key, value in match.items()):
                    return self.events.pop(index)
            start = len(self.events)
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        line = self.file.readline()
        if not line:
            raise ConnectionResetError("init closed the connection")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.file.close()
        self.sock.close()


class InitHome:
    """A home whose init is asked directly; `services` is what services.json says."""

    def __init__(
        self,
        services: dict[str, Any] | None = None,
        start_guard: Callable[[str, str], int] = launch.start_guard,
        below: str | None = None,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hf-", dir=below))
        self.directory.chmod(0o755)
        self.home = Home(self.directory / "h")
        self.home.prepare()
        self.home.services.write_text(json.dumps(services or {}))
        self.start_guard = start_guard
        self.groups: list[Path] = []
        self.peer: Peer | None = None
        self.state: dict[str, Any] = {}

    def start(self) -> dict[str, Any]:
        self.start_guard(str(self.home.path), str(self.home.run))
        return self.hello()

    def hello(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Connect (again) as the keeper, as soon as an init answers."""

        def attempt() -> dict[str, Any] | None:
            try:
                peer = Peer(self.home.init_socket)
            except OSError:
                return None
            try:
                state = peer.ask(op="hello", protocol=1)
            except (OSError, ValueError):
                peer.close()
                return None
            if self.peer is not None:
                self.peer.close()
            self.peer = peer
            return state

        self.state = wait_until(attempt, "an init that answers hello", timeout_s)
        return self.state

    def ask(self, **message: Any) -> dict[str, Any]:
        assert self.peer is not None
        return self.peer.ask(**message)

    def wait(self, **match: Any) -> dict[str, Any]:
        assert self.peer is not None
        return self.peer.wait(**match)

    def definition(self, name: str, *argv: str, **more: Any) -> dict[str, Any]:
        logs = self.home.agent_logs(name)
        logs.mkdir(exist_ok=True)
        return {
            "argv": list(argv),
            "env": {"PATH": "/usr/local/bin:/usr/bin:/bin"},
            "cwd": "/",
            "fifo": str(logs / "log"),
            "lock": str(self.home.agent_lock(name)),
            **more,
        }

    def define(self, name: str, *argv: str, permit: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        definition = self.definition(name, *argv, **more)
        return self.ask(op="define", agent=name, permit=permit or {}, **{"def": definition})

    def launch(self, name: str, *argv: str, permit: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Define, start, and return the `spawned` event once the process is past its exec (or gone)."""
        self.define(name, *argv, permit=permit, **more)
        self.ask(op="start", agent=name)
        born = self.wait(ev="spawned", agent=name)
        pid = born["pid"]
        wait_until(lambda: procfs.instance_of(pid) or not procfs.is_running(pid, born["starttime"]), "exec")
        return born

    def output(self, name: str) -> str:
        path = self.home.agent_logs(name) / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def group(self, name: str) -> str:
        """A v2 cgroup of this home's own, or a skip by the caller when the machine has none."""
        path = v2_root() / f"hf-test-{self.directory.name}" / name
        path.mkdir(parents=True, exist_ok=True)
        self.groups.append(path)
        return str(path)

    def instances(self) -> dict[tuple[str, int], list[int]]:
        """Living processes by (agent, epoch), read from their environments."""
        home_id = self.home.home_id()
        found: dict[tuple[str, int], list[int]] = {}
        for pid in procfs.pids():
            home, _, rest = (procfs.instance_of(pid) or "").partition(":")
            process = procfs.read(pid)
            if home == home_id and process is not None and process.state not in "ZX":
                agent, _, epoch = rest.rpartition(":")
                found.setdefault((agent, int(epoch)), []).append(pid)
        return found

    def own_processes(self) -> list[int]:
        """Guard, init and spawner of this home, found by their arguments."""
        wanted = b"--home\0" + os.fsencode(self.home.path) + b"\0"
        found = []
        for pid in procfs.pids():
            with contextlib.suppress(OSError):
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
                if wanted in arguments + b"\0" and b"holdfast" in arguments:
                    found.append(pid)
        return found

    def lock_holders(self) -> list[int]:
        """Processes that hold an agent's lock, whatever became of their environment."""
        locks = {str(path) for path in (self.home.path / "locks").iterdir()}
        return [pid for pid in procfs.pids() if pid != os.getpid() and procfs.holds_open(pid, locks)] if locks else []

    def destroy(self) -> None:
        """End everything of this home, by pid, guards first so that nothing comes back."""
        if self.peer is not None:
            self.peer.close()
        if not (self.home.path / "home.id").exists():
            shutil.rmtree(self.directory, ignore_errors=True)
            return
        for path in self.groups:
            with contextlib.suppress(OSError):  # whoever stands still cannot die
                (path / "freezer.state").write_text("THAWED")
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            mine = self.own_processes() + [pid for pids in self.instances().values() for pid in pids]
            mine += self.lock_holders()
            if not mine:
                break
            for pid in mine:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for path in self.groups:
            with contextlib.suppress(OSError):
                (path / "cgroup.kill").write_text("1")
            deadline = time.monotonic() + PATIENCE_S  # the kernel may take its time with memory of the dead
            while path.exists() and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    path.rmdir()
                    break
                time.sleep(0.01)
        if self.groups:
            with contextlib.suppress(OSError):
                self.groups[0].parent.rmdir()
        with contextlib.suppress(OSError):
            shutil.rmtree(journal.find_directory(str(self.home.path), self.home.home_id()))
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def running_init(**options: Any) -> Iterator[InitHome]:
    """A started home that is gone afterwards."""
    home = InitHome(**options)
    try:
        home.start()
        yield home
    finally:
        home.destroy()


def v2_root() -> Path:
    """Where the v2 hierarchy is mounted."""
    unified = Path("/sys/fs/cgroup/unified")
    return unified if unified.exists() else Path("/sys/fs/cgroup")


def can_make_v2_groups() -> bool:
    root = v2_root()
    return (root / "cgroup.procs").exists() and os.access(root, os.W_OK) and (root / "cgroup.controllers").exists()


def v1_freezer() -> Path | None:
    root = Path("/sys/fs/cgroup/freezer")
    return root if root.exists() and os.access(root, os.W_OK) else None
