"""circus from PyPI, tuned: it looks at its processes every 100 ms instead of every 5 s."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import ClassVar

from bench import processes
from bench.install import python_tool
from bench.peers.base import LOG_FILE_BYTES, LOG_FILES, Service


class Circus:
    name: ClassVar[str] = "circus"
    setting: ClassVar[str] = "tuned: check_delay 0.1, warmup_delay 0, max_retry -1"

    def version(self) -> str:
        self.program, version = python_tool("circus", "circusd")
        return version

    def launch(self, directory: Path, services: list[Service], logs: Path | None) -> None:
        self.directory = directory
        lines = [
            "[circus]",
            "check_delay = 0.1",
            "warmup_delay = 0",
            f"endpoint = ipc://{directory}/c",
            f"pubsub_endpoint = ipc://{directory}/p",
        ]
        for service in services:
            lines += [
                f"[watcher:{service.name}]",
                f"cmd = {shlex.join(service.argv)}",
                "numprocesses = 1",
                "warmup_delay = 0",
                "max_retry = -1",
            ]
            if logs is not None:
                lines += [
                    "stdout_stream.class = FileStream",
                    f"stdout_stream.filename = {logs / service.name}",
                    f"stdout_stream.max_bytes = {LOG_FILE_BYTES}",
                    f"stdout_stream.backup_count = {LOG_FILES}",
                ]
        (directory / "circus.ini").write_text("\n".join(lines) + "\n")
        self.relaunch()

    def relaunch(self) -> None:
        argv: list[str | Path] = [self.program, "--log-level", "error", self.directory / "circus.ini"]
        self.pid = processes.spawn(
            argv, self.directory / "output", env=dict(os.environ, PYTHONWARNINGS="ignore"), cwd=self.directory
        )

    def roots(self) -> list[int]:
        return [self.pid]

    def status_argv(self) -> list[str | Path]:
        argv: list[str | Path] = [
            self.program.with_name("circusctl"),
            "--endpoint",
            f"ipc://{self.directory}/c",
            "status",
        ]
        return ["/usr/bin/env", "PYTHONWARNINGS=ignore", *argv]

    def end(self) -> None:
        """Left to the caller: everything is below one pid."""

    def tidy(self) -> None:
        """Everything is inside its directory."""
