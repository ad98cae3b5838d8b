"""What the campaign is run against: init alone, or the whole product through its command line and API."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Protocol

from holdfast.home import Home
from holdfast.init import launch, procfs
from tests.harness.init_home import PATIENCE_S, InitHome, can_make_v2_groups, wait_until

ROOT = Path(__file__).resolve().parents[2]
AGENT = Path(__file__).with_name("agent.py")
EXCHANGE_EVERY_ROUNDS = 8
ENDLESS_PERMIT = {"delays_s": [0.0] * 8}


class Level(Protocol):
    """`processes` and `agents` raise OSError or ValueError while nobody answers."""

    work: Path
    home: Home
    waker: tuple[str, ...]  # who must be dead too before nobody is left to start a guard

    def start(self, names: list[str]) -> None: ...

    def revive(self) -> None:
        """After everything of Holdfast was killed: what a user would do."""

    def processes(self) -> dict[str, int]: ...

    def agents(self) -> dict[str, tuple[int, int]]:
        """{name: (pid, epoch)}; pid 0 while it is down."""

    def renew(self, round_number: int) -> list[str]:
        """Keep budgets from running out; the agents' names from now on, empty when they stay."""

    def explain(self) -> str:
        """What is known of an agent that is stuck."""

    def destroy(self) -> None: ...


class InitLevel:
    """guard, init, spawner and agents; the campaign plays the keeper. Services are two sleeping processes."""

    waker = ()

    def __init__(self, place: str, start_guard: Any = launch.start_guard, patience_s: float = PATIENCE_S) -> None:
        services = {"keeper": {"argv": ["sleep", "100000"]}, "logger": {"argv": ["sleep", "100000"]}}
        self.inner = InitHome(services=services, start_guard=start_guard)
        self.home = self.inner.home
        self.place, self.patience_s = place, patience_s
        self.work = self.inner.directory / "work"
        self.work.mkdir()
        self.names: list[str] = []

    def start(self, names: list[str]) -> None:
        self.names = names
        self.inner.start()
        for name in names:
            more: dict[str, Any] = {"cgroup_v2": self.inner.group(name)} if self.place == "v2" else {}
            argv = [sys.executable, "-I", "-S", str(AGENT), str(self.work), name]
            self.inner.define(name, *argv, permit=ENDLESS_PERMIT, **more)
            self.inner.ask(op="start", agent=name)

    def revive(self) -> None:
        self.inner.start_guard(str(self.home.path), str(self.home.run))

    def processes(self) -> dict[str, int]:
        state = self._state()
        found = {"guard": state["guard"]["pid"], "init": state["init"]["pid"]}
        return found | {name: service["pid"] for name, service in state["services"].items()}

    def agents(self) -> dict[str, tuple[int, int]]:
        state = self._state()
        for name, agent in state["agents"].items():
            if agent["state"] in ("down", "asking"):
                self.inner.ask(op="start", agent=name)  # what a keeper would do
        return {name: (agent["pid"], agent["epoch"]) for name, agent in state["agents"].items()}

    def renew(self, round_number: int) -> list[str]:
        def attempt() -> bool:
            try:
                for name in self.names:
                    self.inner.ask(op="permit", agent=name, permit=ENDLESS_PERMIT)
                self.inner.ask(op="ack", seq=self.inner.state["seq"])
            except (OSError, ValueError):
                self.inner.hello(self.patience_s)  # init was replaced meanwhile
                return False
            return True

        wait_until(attempt, "permits are renewed")
        return []

    def explain(self) -> str:
        return json.dumps(self.inner.state)[:4000]

    def _state(self) -> dict[str, Any]:
        return self.inner.hello(self.patience_s)

    def destroy(self) -> None:
        self.inner.destroy()


class ProductLevel:
    """Everything, started by `holdfast up -d` and asked through the API."""

    waker = ("keeper",)

    def __init__(self, place: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hf-"))
        self.directory.chmod(0o755)
        self.home = Home(self.directory / "h")
        self.work = self.directory / "work"
        self.work.mkdir()
        self.work.chmod(0o777)
        self.spec = self.directory / "holdfast.yaml"
        self.environment = {**os.environ, "HOLDFAST_HOME": str(self.home.path)}
        if place != "v2":
            self.environment["HOLDFAST_CGROUPS"] = place

    def start(self, names: list[str]) -> None:
        user = {"user": "root"} if os.getuid() == 0 else {}
        agents = {
            name: {
                "command": [sys.executable, "-I", "-S", str(AGENT), str(self.work), name],
                "restart": {"backoff": ["0s"] * 10, "window": "1s"},
                "stop": {"grace": "1s"},
                **user,
            }
            for name in names
        }
        self.spec.write_text(json.dumps({"version": 1, "agents": agents}))
        self.revive()

    def revive(self) -> None:
        command = [sys.executable, "-m", "holdfast.cli", "up", "-f", str(self.spec), "-d"]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"holdfast up failed ({done.returncode}): {done.stdout}{done.stderr}")

    def processes(self) -> dict[str, int]:
        return {entry["name"]: entry["pid"] for entry in self._status()["holdfast"]["processes"]}

    def agents(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for entry in self._status()["agents"]:
            found[entry["name"]] = (entry["pid"] or 0, entry["instance"] or 0)
        return found

    def renew(self, round_number: int) -> list[str]:
        """The keeper renews permits, but an agent killed this often rightly climbs the ladder: now and then the
        fleet is exchanged for one with other names, whose ladders are new.
        """
        if round_number % EXCHANGE_EVERY_ROUNDS:
            return []
        names = [f"{name.partition('-')[0]}-{round_number}" for name in self.agents()]
        self.start(names)
        return names

    def explain(self) -> str:
        command = [sys.executable, "-m", "holdfast.cli", "events"]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=180)
        try:
            agents = json.dumps(self._status()["agents"], indent=1)
        except (OSError, ValueError, KeyError) as error:
            guard = self.home.own_logs / "guard.log"
            printed = guard.read_text(errors="replace")[-4000:] if guard.exists() else "nothing"
            agents = f"no keeper answers: {error!r}; guard and init printed: {printed}"
        return agents + "\n" + done.stdout[-12000:]

    def _status(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        try:
            connection.sock.connect(str(self.home.api_socket))
            connection.request("GET", "/v1/status")
            status: dict[str, Any] = json.loads(connection.getresponse().read())
            return status
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def destroy(self) -> None:
        command = [sys.executable, "-m", "holdfast.cli", "down", "--timeout", "30"]
        subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, timeout=300, check=False)
        leftovers = InitHome.__new__(InitHome)
        leftovers.home, leftovers.directory, leftovers.peer, leftovers.groups = self.home, self.directory, None, []
        leftovers.destroy()
        shutil.rmtree(self.directory, ignore_errors=True)


def spawner_of(init_pid: int) -> int:
    """The spawner is the child of init that runs init's own code."""
    for pid in procfs.children(init_pid):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == "holdfast-spawn":
                return pid
        except OSError:
            continue
    return 0


def available_places() -> list[str]:
    return ["none", *(["v2"] if can_make_v2_groups() else [])]


__all__ = ["InitLevel", "Level", "ProductLevel", "available_places", "spawner_of", "wait_until"]
