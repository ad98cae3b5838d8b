"""supervisord from PyPI. Its main loop polls once a second, which no setting changes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import ClassVar

from bench import processes
from bench.install import python_tool
from bench.peers.base import LOG_FILE_BYTES, LOG_FILES, Service

FILES_EACH = 8  # descriptors it wants per service


class Supervisord:
    name: ClassVar[str] = "supervisord"
    setting: ClassVar[str] = "autorestart=true, startsecs=1; minfds raised with the number of services"

    def version(self) -> str:
        self.program, version = python_tool("supervisor", "supervisord")
        return version

    def launch(self, directory: Path, services: list[Service], logs: Path | None) -> None:
        self.directory = directory
        minimum = max(1024, FILES_EACH * len(services))
        lines = [
            "[supervisord]",
            f"directory={directory}",
            f"logfile={directory}/log",
            f"pidfile={directory}/pid",
            f"minfds={minimum}",
            "loglevel=warn",
            "[unix_http_server]",
            f"file={directory}/s",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]",
            f"serverurl=unix://{directory}/s",
        ]
        for service in services:
            lines += [
                f"[program:{service.name}]",
                f"command={shlex.join(service.argv)}",
                "autorestart=true",
                "startretries=1000000",
                f"stdout_logfile={logs / service.name if logs else 'NONE'}",
                f"stdout_logfile_maxbytes={LOG_FILE_BYTES}",
                f"stdout_logfile_backups={LOG_FILES}",
                "stderr_logfile=NONE",
            ]
        (directory / "supervisord.conf").write_text("\n".join(lines) + "\n")
        self.relaunch()

    def relaunch(self) -> None:
        argv: list[str | Path] = [self.program, "-n", "-c", self.directory / "supervisord.conf"]
        self.pid = processes.spawn(argv, self.directory / "output", cwd=self.directory)

    def roots(self) -> list[int]:
        return [self.pid]

    def status_argv(self) -> list[str | Path]:
        return [self.program.with_name("supervisorctl"), "-c", self.directory / "supervisord.conf", "status"]

    def end(self) -> None:
        """Left to the caller: everything is below one pid."""

    def tidy(self) -> None:
        """Everything is inside its directory."""
