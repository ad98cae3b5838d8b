"""One home used only through the command line, as a person would. Ends whatever it started."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 90.0
HOLDFAST = [sys.executable, "-P", "-m", "holdfast.cli"]


def _hear_interrupts() -> None:
    """Also where we ourselves were started with them ignored, as in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class CliHome:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "home"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST")},
            "HOLDFAST_HOME": str(self.path),
            "HOLDFAST_USERS": "numeric",
        }

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*HOLDFAST, *arguments],
            env=self.environment,
            cwd=cwd or self.directory,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S * 4,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that stays in the foreground."""
        return subprocess.Popen(
            [*HOLDFAST, *arguments],
            env=self.environment,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=_hear_interrupts,
        )

    def write(self, text: str, name: str = "holdfast.yaml") -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def ps(self) -> dict[str, Any]:
        """The status, told by a keeper that has met init: before, it knows nobody's pid. An empty one while there is
        no keeper."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = self.run("ps", "--json")
            found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
            rows = found.get("holdfast", {}).get("processes", [])
            if any(row["name"] == "init" and row["pid"] for row in rows) or time.monotonic() >= deadline:
                return found
            if not found:
                return {"agents": [], "holdfast": {"processes": []}}
            time.sleep(0.02)

    def agents(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.ps()["agents"]}

    def own(self) -> dict[str, int]:
        return {row["name"]: row["pid"] for row in self.ps()["holdfast"]["processes"] if row["pid"]}

    def left(self) -> list[int]:
        """Every process of this home, agents and Holdfast's own."""
        try:
            marker = f"HOLDFAST_INSTANCE={(self.path / 'home.id').read_text().strip()}:".encode()
        except OSError:
            return []
        home = re.compile(rb"(?:^|\0)" + re.escape(os.fsencode(self.path)) + rb"(?:\0|$)")
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                environment = Path(f"/proc/{entry}/environ").read_bytes()
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if marker in environment or home.search(command):
                found.append(int(entry))
        return found

    def end(self) -> None:
        """Stop everything; what is left after that is killed, so that no test harms the next."""
        self.run("down", "--timeout", "30")
        for _ in range(50):
            left = self.left()
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
            time.sleep(0.05)


@contextmanager
def cli_home() -> Iterator[CliHome]:
    # not pytest's tmp_path: below it (mode 0700) agents of other users could not run
    directory = Path(tempfile.mkdtemp(prefix="hf-cli-"))
    directory.chmod(0o755)
    home = CliHome(directory)
    try:
        yield home
    finally:
        home.end()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def home() -> Iterator[CliHome]:
    with cli_home() as found:
        yield found


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


class Reader:
    """Collects the lines of a running command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        for stream, lines in ((process.stdout, self.out), (process.stderr, self.err)):
            threading.Thread(target=lambda s=stream, k=lines: k.extend(s), daemon=True).start()  # type: ignore[misc]
