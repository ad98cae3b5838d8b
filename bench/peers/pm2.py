"""pm2 from npm: one Node daemon, reached through its command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import ClassVar

from bench import processes
from bench.install import node_tool
from bench.peers.base import Service

START_TIMEOUT_S = 150.0


class Pm2:
    name: ClassVar[str] = "pm2"
    setting: ClassVar[str] = "fork mode, max_restarts raised so that it never gives up"

    def version(self) -> str:
        self.program, version = node_tool("pm2")
        return version

    def launch(self, directory: Path, services: list[Service], logs: Path | None) -> None:
        self.directory = directory
        apps = [
            {
                "name": service.name,
                "script": service.argv[0],
                "args": list(service.argv[1:]),
                "interpreter": "none",
                "exec_mode": "fork",
                "cwd": str(directory),
                "max_restarts": 1_000_000,
                "out_file": str(logs / service.name) if logs else "/dev/null",
                "error_file": "/dev/null",
            }
            for service in services
        ]
        (directory / "apps.json").write_text(json.dumps({"apps": apps}))
        self.relaunch()

    def relaunch(self) -> None:
        self._call("start", str(self.directory / "apps.json"), timeout_s=START_TIMEOUT_S)

    def roots(self) -> list[int]:
        try:
            return [int((self.directory / "home/pm2.pid").read_text())]
        except (OSError, ValueError):
            return []

    def status_argv(self) -> list[str | Path]:
        environment = [f"PM2_HOME={self.directory / 'home'}", "PM2_DISABLE_VERSION_CHECK=true"]
        return ["/usr/bin/env", *environment, self.program, "list"]

    def end(self) -> None:
        """Left to the caller: everything is below one pid."""

    def tidy(self) -> None:
        """Everything is inside its directory."""

    def _call(self, *arguments: str, timeout_s: float) -> None:
        environment = dict(os.environ, PM2_HOME=str(self.directory / "home"), PM2_DISABLE_VERSION_CHECK="true")
        processes.command(
            [self.program, *arguments],
            self.directory / "output",
            timeout_s=timeout_s,
            env=environment,
            cwd=self.directory,
        )
