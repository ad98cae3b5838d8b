"""s6: one s6-supervise per service under one s6-svscan.

Tuned: a service that never tells readiness always waits one second before its restart, so every run script tells it.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import ClassVar

from bench import processes
from bench.install import debian_version
from bench.peers.base import LOG_FILE_BYTES, LOG_FILES, Service


class S6:
    name: ClassVar[str] = "s6"
    setting: ClassVar[str] = "tuned: tells readiness at once (notification-fd), which avoids its 1 s pause"

    def version(self) -> str:
        return debian_version("s6", "s6-svscan")

    def launch(self, directory: Path, services: list[Service], logs: Path | None) -> None:
        self.directory = directory
        self.scan = directory / "service"
        self.count = len(services)
        for service in services:
            place = self.scan / service.name
            place.mkdir(parents=True)
            (place / "notification-fd").write_text("3\n")
            run = place / "run"
            run.write_text(f"#!/bin/sh\necho >&3\nexec {shlex.join(service.argv)} 3>&-\n")
            run.chmod(0o755)
            if logs is not None:
                _log_with_s6_log(place / "log", logs / service.name)
        self.relaunch()

    def relaunch(self) -> None:
        svscan = shutil.which("s6-svscan") or "s6-svscan"
        environment = {"PATH": os.environ.get("PATH", os.defpath)}
        argv: list[str | Path] = [svscan, "-c", str(self.count + 100), self.scan]
        self.pid = processes.spawn(argv, self.directory / "output", env=environment)

    def roots(self) -> list[int]:
        return [self.pid]

    def status_argv(self) -> list[str | Path]:
        """It has one program for one service: a shell goes through them."""
        script = f'for place in {shlex.quote(str(self.scan))}/*/; do printf "%s " "$place"; s6-svstat "$place"; done'
        return ["/bin/sh", "-c", script]

    def end(self) -> None:
        """Left to the caller: a polite end of 1,000 s6-supervise takes longer than the measurement."""

    def tidy(self) -> None:
        """Everything is inside its directory."""


def _log_with_s6_log(place: Path, logs: Path) -> None:
    logs.mkdir(parents=True)
    place.mkdir()
    quoted = shlex.quote(str(logs))
    (place / "run").write_text(f"#!/bin/sh\nexec s6-log n{LOG_FILES} s{LOG_FILE_BYTES} {quoted}\n")
    (place / "run").chmod(0o755)
