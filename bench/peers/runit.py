"""runit: one runsv per service under one runsvdir. Nothing to tune."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import ClassVar

from bench import processes
from bench.install import debian_version
from bench.peers.base import LOG_FILE_BYTES, LOG_FILES, Service


class Runit:
    name: ClassVar[str] = "runit"
    setting: ClassVar[str] = "default; sh run script that execs"

    def version(self) -> str:
        return debian_version("runit", "runsvdir")

    def launch(self, directory: Path, services: list[Service], logs: Path | None) -> None:
        self.directory = directory
        self.scan = directory / "service"
        ready = directory / "prepared"
        for service in services:
            place = ready / service.name
            place.mkdir(parents=True)
            run = place / "run"
            run.write_text(f"#!/bin/sh\nexec {shlex.join(service.argv)}\n")
            run.chmod(0o755)
            if logs is not None:
                _log_with_svlogd(place / "log", logs / service.name)
        ready.rename(self.scan)
        self.relaunch()

    def relaunch(self) -> None:
        runsvdir = shutil.which("runsvdir") or "runsvdir"
        environment = {"PATH": os.environ.get("PATH", os.defpath)}
        self.pid = processes.spawn([runsvdir, "-P", self.scan], self.directory / "output", env=environment)

    def roots(self) -> list[int]:
        return [self.pid]

    def status_argv(self) -> list[str | Path]:
        return [shutil.which("sv") or "sv", "status", *sorted(self.scan.iterdir())]

    def end(self) -> None:
        """Left to the caller: a polite end of 1,000 runsv takes longer than the measurement."""

    def tidy(self) -> None:
        """Everything is inside its directory."""


def _log_with_svlogd(place: Path, logs: Path) -> None:
    logs.mkdir(parents=True)
    (logs / "config").write_text(f"s{LOG_FILE_BYTES}\nn{LOG_FILES}\n")
    place.mkdir()
    (place / "run").write_text(f"#!/bin/sh\nexec svlogd -b 65536 {shlex.quote(str(logs))}\n")
    (place / "run").chmod(0o755)
