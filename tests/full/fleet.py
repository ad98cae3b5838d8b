"""Drives one Holdfast through its real command line, as a person would, and waits on what `ps --json` says.

Invariants: every command and every wait has a deadline; a wait that fails shows the last row, the events and the
agent's last lines; `close` leaves no process behind whatever happened. Used by the tests of this folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.full.processes import Process, cgroups_named, marked

POLL_S = 0.5
PROGRESS_EVERY_S = 10.0
COMMAND_TIMEOUT_S = 180.0
KEEPER_BACK_S = 60.0
LEFT_S = 60.0  # until the last process and cgroup of what was taken down are gone
EXIT_UNREACHABLE = 5
Row = dict[str, Any]
T = TypeVar("T")
Say = Callable[[str], None]


def serving(row: Row) -> bool:
    """Past its start gate and answering well; within the 60 s after a fault the phase is still `recovering`."""
    levels = row["health"]
    return row["phase"] in ("healthy", "recovering", "escalated") and levels["process"] == levels["endpoint"] == "ok"


class Fleet:
    """One Holdfast home with one holdfast.yaml in `folder`."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self.home = folder / "hf"
        self.file = folder / "holdfast.yaml"
        self.say = say

    def declare(self, agents: dict[str, Any], **top: Any) -> None:
        """Write holdfast.yaml (JSON is YAML); `top`: further keys beside `agents`."""
        self.file.write_text(json.dumps({"version": 1, **top, "agents": agents}, indent=2) + "\n")

    def command(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Run `holdfast ARGUMENTS` and return whatever came of it."""
        program = [sys.executable, "-m", "holdfast.cli", "--home", str(self.home), *arguments]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENCLAW_", "HERMES_"))}
        source = str(Path(__file__).resolve().parents[2] / "src")
        return subprocess.run(
            program,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**kept, "PYTHONPATH": source},
            cwd=self.folder,
        )

    def must(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run `holdfast ARGUMENTS`, which has to succeed; its output.

        A keeper that was killed in between (exit 5) is back within a second or so: asked again then, as a person does.
        """
        deadline = time.monotonic() + KEEPER_BACK_S
        while True:
            done = self.command(*arguments, timeout_s=timeout_s)
            if done.returncode != EXIT_UNREACHABLE or time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        said = f"holdfast {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, said
        return done.stdout

    def row(self, agent: str) -> Row:
        """The agent's row of `ps --json`; {} while there is none."""
        answer = json.loads(self.command("ps", "--json").stdout or "{}")
        own: list[Row] = answer.get("holdfast", {}).get("processes", [])
        if not any(row["name"] == "init" and row["pid"] for row in own):
            return {}  # a keeper that has not met init yet knows nobody's pid
        rows: list[Row] = [row for row in answer.get("agents", []) if row["name"] == agent]
        return rows[0] if rows else {}

    def wait(self, agent: str, what: str, good: Callable[[Row], bool], timeout_s: float) -> Row:
        """Until the agent's row is `good`; says every 10 s what it looks like. Fails with all the evidence."""
        began = said = time.monotonic()
        while True:
            row = self.row(agent)
            if row and good(row):
                self.say(f"{agent}: {what} after {time.monotonic() - began:.1f} s")
                return row
            now = time.monotonic()
            if now - began > timeout_s:
                raise AssertionError(f"{agent}: not {what} after {timeout_s:.0f} s\n{self.evidence(agent)}")
            if now - said > PROGRESS_EVERY_S:
                said = now
                self.say(f"{agent}: waiting for {what}, {now - began:.0f} s: {row.get('phase')}: {row.get('why')}")
            time.sleep(POLL_S)

    def serving_again(self, agent: str, before: Row, timeout_s: float) -> Row:
        """Until a later instance than the one in `before` has passed its gate."""
        return self.wait(
            agent,
            "serving with a new process",
            lambda row: serving(row) and row["instance"] > before["instance"] and row["pid"] != before["pid"],
            timeout_s,
        )

    def incidents(self, agent: str) -> list[Row]:
        """Incidents of the agent, in the order of the command's answer."""
        answer = json.loads(self.must("incidents", "--json"))
        return [row for row in answer["incidents"] if row["agent"] == agent]

    def wait_recovered(self, agent: str, known: int, timeout_s: float) -> Row:
        """Until the one incident after the `known` ones is closed as recovered; that incident."""
        began = said = time.monotonic()
        while True:
            found = self.incidents(agent)
            new = [row for row in found if row["outcome"] != "open"]
            if len(found) > known and len(new) == len(found):
                return max(found, key=lambda row: str(row["id"]))
            now = time.monotonic()
            assert now - began < timeout_s, f"{agent}: no recovered incident after {timeout_s} s: {found}"
            if now - said > PROGRESS_EVERY_S:
                said = now
                self.say(f"{agent}: {now - began:.0f} s until the incident is closed")
            time.sleep(POLL_S)

    def events(self, agent: str) -> list[Row]:
        """The agent's records of the ledger, oldest first: all of them, however much else is in it."""
        lines = self.must("events", "--all", "--agent", agent, "--json").splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]
        if len(records) == 1 and "events" in records[0]:
            records = records[0]["events"]
        return [record for record in records if record.get("agent") == agent]

    def evidence(self, agent: str) -> str:
        """All that helps to understand a failure: row, events, what the agent printed last."""
        parts = [f"row: {self.row(agent)}"]
        for arguments in (("events",), ("describe", agent), ("logs", agent)):
            done = self.command(*arguments)
            parts.append(f"--- holdfast {' '.join(arguments)}\n{(done.stdout + done.stderr)[-4000:]}")
        for log in sorted((self.home / "log").glob("*")):
            if log.is_file():
                parts.append(f"--- {log}\n{log.read_text(errors='replace')[-1500:]}")
        return "\n".join(parts)

    def up(self, timeout_s: float) -> None:
        """`holdfast up -d --wait`: returns when every agent is healthy."""
        self.must("up", "-f", str(self.file), "-d", "--wait", "--timeout", f"{timeout_s:.0f}", timeout_s=timeout_s + 60)

    def down(self, timeout_s: float) -> None:
        self.must("down", timeout_s=timeout_s)

    def left_running(self) -> list[str]:
        """Every process that belongs to this home or its agents and stays: by environment, command line and cgroup."""

        def look() -> list[str]:
            found = marked(str(self.folder))
            if (identity := self._home_id()) is not None:
                found += [process for process in marked(identity) if process not in found]
            return [f"{process.pid} {process.command[:150]}" for process in found]

        return _what_stays(look)

    def cgroups_left(self) -> list[Path]:
        identity = self._home_id()
        return _what_stays(lambda: cgroups_named(identity)) if identity else []

    def close(self, keep: bool) -> None:
        """Take everything down, by force if need be; the folder stays when `keep`."""
        try:
            if self.home.exists():
                self.command("down", timeout_s=120)
        except subprocess.TimeoutExpired:
            self.say("`holdfast down` did not return in 120 s")
        for process in marked(str(self.folder)):
            kill(process)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _home_id(self) -> str | None:
        try:
            return (self.home / "home.id").read_text().strip()
        except OSError:
            return None


def _what_stays(look: Callable[[], list[T]]) -> list[T]:
    deadline = time.monotonic() + LEFT_S
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def kill(process: Process, number: int = signal.SIGKILL) -> None:
    """Signal a process if it is still the same one."""
    if process.alive:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass


def gone(processes: list[Process], timeout_s: float) -> list[Process]:
    """Wait until all have ended; those that have not."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and any(process.alive for process in processes):
        time.sleep(0.05)
    return [process for process in processes if process.alive]
