"""Holdfast itself, from this checkout, through its own command line and socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any, ClassVar

from bench import processes
from bench.install import ROOT, Unavailable
from bench.peers.base import Service

UP_TIMEOUT_S = 120.0
DOWN_TIMEOUT_S = 60.0
THROTTLE_OFF = {"backoff": ["0s"] * 10, "window": "1s"}  # ten restarts a second are free: no suite kills that often
ROLES = ("guard", "init", "keeper", "logger")


class Holdfast:
    name: ClassVar[str] = "holdfast"
    setting: ClassVar[str] = "throttles off (restart.backoff ten times 0s, window 1s; logs.rate off), otherwise default"

    def __init__(self) -> None:
        self.directory: Path | None = None

    def version(self) -> str:
        self.program = Path(sys.executable).with_name("holdfast")
        if not self.program.exists():
            self.program = ROOT / ".venv/bin/holdfast"
        if not self.program.exists():
            raise Unavailable("not installed in this checkout (./dev install)")
        try:
            text = processes.command([self.program, "--version"], Path("/tmp") / f"hf-{os.getpid()}", timeout_s=20)
        except processes.CommandFailed as error:
            raise Unavailable(f"`holdfast --version` failed: {str(error)[-200:]}") from error
        finally:
            (Path("/tmp") / f"hf-{os.getpid()}").unlink(missing_ok=True)
        return text.strip().split()[-1]

    def launch(self, directory: Path, services: list[Service], logs: Path | None) -> None:
        del logs  # it always keeps them, in its home, 100 MB by 5
        self.directory = directory
        self.home = directory / "home"
        self.file = directory / "holdfast.yaml"
        self.file.write_text(json.dumps({"version": 1, "agents": {s.name: _agent(s) for s in services}}, indent=1))
        self.relaunch()

    def relaunch(self) -> None:
        self.call("up", "-f", str(self.file), "-d", timeout_s=UP_TIMEOUT_S)

    def roots(self) -> list[int]:
        """Found by the home named on their command lines: needs no answer from any of them."""
        if self.directory is None:
            return []
        home = str(self.home)
        return [
            pid for pid in processes.descendants([os.getpid()]) if pid != os.getpid() and home in processes.argv_of(pid)
        ]

    def status_argv(self) -> list[str | Path]:
        return [self.program, "--home", str(self.home), "ps"]

    def end(self) -> None:
        if self.directory is not None and self.home.exists():
            self.call("down", timeout_s=DOWN_TIMEOUT_S)

    def tidy(self) -> None:
        """init's journals lie on tmpfs, found by the id of the home; cgroups of the home carry the same id."""
        if self.directory is None or not (self.home / "home.id").exists():
            return
        home_id = (self.home / "home.id").read_text().strip()
        for base in ("/dev/shm", "/run"):
            shutil.rmtree(f"{base}/holdfast-{os.getuid()}-{home_id}", ignore_errors=True)
        for root, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
            if home_id in root:
                with contextlib.suppress(OSError):
                    os.rmdir(root)

    def call(self, *arguments: str, timeout_s: float) -> str:
        """Run the command line on this home."""
        assert self.directory is not None
        argv: list[str | Path] = [self.program, "--home", str(self.home), *arguments]
        environment = dict(os.environ, HOLDFAST_USERS="numeric")  # as root: no account is made for a measurement
        return processes.command(argv, self.directory / "output", timeout_s=timeout_s, env=environment)

    def get(self, path: str, timeout_s: float = 5.0) -> Any:
        """GET from the API socket; None when nobody answers."""
        connection = UnixConnection(str(self.home / "run/api.sock"), timeout_s)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            connection.request("GET", path, headers={"Host": "holdfast"})
            return json.loads(connection.getresponse().read())
        return None

    def process_table(self) -> dict[str, int]:
        """Pids of Holdfast's own processes by role, as `ps --json` shows them; empty when the API does not answer."""
        status = self.get("/v1/status")
        if not isinstance(status, dict) or "holdfast" not in status:
            return {}
        return {row["name"]: row["pid"] for row in status["holdfast"]["processes"] if row.get("pid")}


def _agent(service: Service) -> dict[str, Any]:
    agent: dict[str, Any] = {"command": list(service.argv), "restart": THROTTLE_OFF, "logs": {"rate": "off"}}
    if service.port is not None:
        url = f"http://127.0.0.1:{service.port}/health"
        agent["health"] = {"http": url, "interval": "2s", "timeout": "500ms"}
    for key, value in service.settings.items():
        agent[key] = {**agent.get(key, {}), **value} if isinstance(value, dict) else value
    return agent


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)
