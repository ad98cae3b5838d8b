"""Where a drill takes place: a throw-away home with a throw-away agent, or the user's own running Holdfast.

Invariant: of a throw-away stage nothing is left, whatever happened; on a real one nothing is started or deleted but
what the fault itself kills. Called by run.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from holdfast import errors
from holdfast.clock import SHIFT_ENV
from holdfast.drills import agent as throw_away
from holdfast.drills.faults import BEAT_S, EVERY_S, Fault
from holdfast.drills.kept import STATE
from holdfast.errors import HoldfastError
from holdfast.home import Home

Row = dict[str, Any]
NEIGHBOUR = "neighbour"
STORE_ENV = "HOLDFAST_DRILL_STORE"  # s3://BUCKET/PREFIX: the second place of the throw-away agent, else a directory
MEMORY_LIMIT_BYTES = 120_000_000
SMALL_DISK = "256m"  # of the home: filled to the last byte by the drill disk-full
UP_MAX_S = 90
CALM_MAX_S = 120.0  # an incident of a throw-away agent is confirmed as over after 60 s
# One of a real agent after as long as its slowest source needs, such as a heartbeat file of 3 min; longer when starved.
REAL_CALM_MAX_S = 600.0
EVENTS_READ = 200  # of one agent: its last start is among them
OWN_PROCESSES = 4
DOWN_MAX_S = 60
_LOOK_S = 0.01
_LOOK_LATER_S = 0.1  # after the first seconds: looking must not be what keeps a small machine busy
_EAGER_S = 2.0


class Asker(Protocol):
    """The keeper's client, as the command line has it."""

    def get(self, path: str, **query: object) -> Any: ...

    def post(self, path: str, body: dict[str, Any], *, timeout_s: float | None = None) -> Any: ...

    def stream(self, path: str, *, follow: bool, **query: object) -> Iterator[bytes]: ...


class Stage:
    """One Holdfast and the agent the faults are tried on."""

    throw_away = False
    calm_max_s = REAL_CALM_MAX_S

    def __init__(self, home: Home, client: Asker, agent: str) -> None:
        self.home, self.client, self.agent = home, client, agent

    def status(self) -> dict[str, Any] | None:
        """What `ps --json` shows; None while the keeper is away."""
        try:
            answer: dict[str, Any] = self.client.get("/v1/status")
        except HoldfastError:
            return None
        return answer

    def row(self, name: str = "") -> dict[str, Any] | None:
        """The agent's line, None while the keeper is away or does not know it."""
        status = self.status()
        rows = status["agents"] if status else []
        return next((row for row in rows if row["name"] == (name or self.agent)), None)

    def starved(self) -> bool:
        """Whether the machine is, as the keeper judges it; False while the keeper is away."""
        try:
            return bool(self.client.get("/v1/node")["starved"])
        except HoldfastError:
            return False

    def detail(self) -> dict[str, Any] | None:
        """What `describe --json` shows; None while the keeper is away or does not know the agent."""
        try:
            answer: dict[str, Any] = self.client.get(f"/v1/agents/{self.agent}")
        except HoldfastError:
            return None
        return answer

    def start_s(self) -> float:
        """How long the last start that came to an end took, from the spawn to the passed gate; 0.0 when unknown."""
        kinds = "agent.spawned,ladder.gatepassed"
        began = took_s = 0.0
        with contextlib.suppress(HoldfastError, ValueError, KeyError):
            answer = self.client.stream("/v1/events", follow=False, agent=self.agent, kind=kinds, last=EVENTS_READ)
            for event in map(json.loads, answer):
                if event["kind"] == "agent.spawned":
                    began = event["at"]
                elif began:
                    took_s, began = max(0.0, event["at"] - began), 0.0
        return round(took_s, 3)

    def incidents(self) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = self.client.get("/v1/incidents")["incidents"]
        except HoldfastError:
            return []
        return rows

    def snapshots(self) -> list[Row]:
        """What `snapshots --json` shows, oldest first; none while the keeper is away."""
        try:
            rows: list[Row] = self.client.get(f"/v1/agents/{self.agent}/snapshots")["snapshots"]
        except HoldfastError:
            return []
        return rows

    def pids(self) -> dict[str, int]:
        """Holdfast's own processes; waits for a keeper that is being replaced."""
        status = self.wait_for(self.status, UP_MAX_S)
        processes = status["holdfast"]["processes"] if status else []
        return {process["name"]: process["pid"] for process in processes if process["pid"]}

    def wait_for(self, look: Callable[[], Any], timeout_s: float) -> Any:
        """The first true answer of `look`, None after `timeout_s`."""
        began = time.monotonic()
        while not (found := look()):
            passed_s = time.monotonic() - began
            if passed_s >= timeout_s:
                return None
            time.sleep(_LOOK_S if passed_s < _EAGER_S else _LOOK_LATER_S)
        return found

    def well(self) -> bool:
        return is_well(self.row())

    def has_event(self, kind: str) -> bool:
        """Whether something of this kind was ever recorded."""
        return kind in self.cli("events", "--kind", kind).stdout

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """From the home, so that `up` without a file starts what ran there, not what lies in the user's directory."""
        return subprocess.run(self.line(*arguments), capture_output=True, text=True, check=False, cwd=self.home.path)

    def line(self, *arguments: str) -> list[str]:
        """What `cli` runs."""
        return [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(self.home.path), *arguments]

    def begin(self, fault: Fault) -> bool:
        """Wait until the agent may be hurt: well, and no longer being healed of something else. False: it is not."""
        return bool(self.wait_for(self._begins, self.calm_max_s) == "settled")

    def _begins(self) -> str:
        """ "settled", "" for not yet, or "down": waiting does not make it well, a person has to."""
        if self._settled() and len(self.pids()) >= OWN_PROCESSES:
            return "settled"
        row = self.row()
        down = row is not None and row["phase"] in ("stopped", "finished", "escalated", "spare")
        return "down" if down and not self.throw_away else ""

    def _settled(self) -> bool:
        row = self.row()
        return is_well(row) and row is not None and row["phase"] in ("healthy", "degraded")

    def set_fault(self, text: str) -> None:
        raise AssertionError("only a throw-away agent listens")

    def close(self) -> None:
        """Leave."""


class ThrowAwayStage(Stage):
    """A Holdfast of its own with one agent for each fault, so that none begins in the middle of another's healing,
    and one that must not notice."""

    throw_away = True
    calm_max_s = CALM_MAX_S

    def __init__(self, connect: Callable[[Home], Asker], faults: Sequence[Fault]) -> None:
        self._faults = {_name(fault): fault for fault in faults}
        self.directory = Path(tempfile.mkdtemp(prefix="holdfast-drill-"))
        self.small_disk = False
        try:
            self.directory.chmod(0o755)
            home = Home(self.directory / "home")
            super().__init__(home, connect(home), next(iter(self._faults), NEIGHBOUR))
            self.clock = self.directory / "clock"
            self.second = _second(self.directory)
            self.mount()
            self.write([*self._faults, *self.others()])
            self.up()
        except BaseException:
            self.close()
            raise

    def mount(self) -> None:
        """As root the home is a small disk of its own, so that it can be filled."""
        path = self.home.path
        path.mkdir()
        if os.geteuid() == 0:
            line = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0711", "holdfast-drill", str(path)]
            with contextlib.suppress(OSError):
                self.small_disk = subprocess.run(line, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        if self.small_disk:
            subprocess.run(["umount", "--lazy", str(self.directory / "home")], capture_output=True, check=False)
            self.small_disk = False

    def others(self) -> list[str]:
        """Agents that nothing is done to: they must not notice."""
        return [NEIGHBOUR]

    def settings(self, name: str) -> Row:
        """Keys of holdfast.yaml that this stage gives an agent beside those of all."""
        return {}

    def top(self) -> Row:
        """Keys of the top level that this stage needs."""
        return {}

    def write(self, names: Sequence[str]) -> None:
        """holdfast.yaml with these agents, and what each needs."""
        agents: dict[str, Row] = {}
        for name in names:
            place = self.directory / name
            place.mkdir(exist_ok=True)
            place.chmod(0o777)  # the agent's user and ours both write `fault`
            shutil.copyfile(throw_away.__file__, place / "agent.py")
            (place / "agent.py").chmod(0o644)
            port = _free_port()
            agents[name] = agent = {
                "command": [python(), "agent.py", str(port)],
                "working_dir": str(place),
                "limits": {"memory": str(MEMORY_LIMIT_BYTES)},
                "health": {
                    "http": {"url": f"http://127.0.0.1:{port}/", "expect": {"status": "ok"}},
                    "beat": f"{BEAT_S:g}s",
                    "start_period": "20s",
                },
                "logs": {"max_size": "20M", "max_files": 2},
                "restart": {"backoff": ["0s", "1s", "2s"], "retry": "3s"},
                "stop": {"grace": "5s", "hung_grace": "2s"},
                **self.settings(name),
            }
            fault = self._faults.get(name)
            if fault is not None and fault.state:
                agent["command"] = [*agent["command"], STATE]
                state: Row = {"paths": [str(place / STATE)], "every": f"{EVERY_S:g}s"}
                if fault.name == "lose-machine":
                    state |= {"store": self.second, "store_every": f"{EVERY_S:g}s"}
                agent["state"] = state
        text = json.dumps({"version": 1, **self.top(), "agents": agents}, indent=1)  # every JSON text is YAML
        (self.directory / "holdfast.yaml").write_text(text)

    def _up(self, *waiting: str) -> subprocess.CompletedProcess[str]:
        os.environ[SHIFT_ENV] = str(self.clock)
        try:
            return self.cli("up", "-f", str(self.directory / "holdfast.yaml"), "-d", *waiting)
        finally:
            del os.environ[SHIFT_ENV]

    def begin(self, fault: Fault) -> bool:
        self.agent = _name(fault)
        return super().begin(fault)

    def place(self) -> Path:
        """The working directory of the agent that is being hurt."""
        return self.directory / self.agent

    def up(self) -> None:
        """Raises HoldfastError when not all are well in time."""
        up = self._up("--wait", "--timeout", str(UP_MAX_S))
        if up.returncode:
            raise HoldfastError(errors.DRILL_FAILED, reason=f"its own Holdfast did not start: {_last(up.stderr)}")

    def up_again(self) -> bool:
        # Without waiting for all to be well: agents of earlier faults may still be under healing.
        return self._up().returncode == 0

    def set_fault(self, text: str) -> None:
        """Read by the agent within a twentieth of a second; "" takes the fault away."""
        self.tell(self.agent, text)

    def tell(self, name: str, text: str) -> None:
        """As `set_fault`, to any agent of the stage."""
        path = self.directory / name / "fault"
        if not text:
            path.unlink(missing_ok=True)
            return
        new = path.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o666)
        new.replace(path)

    def set_clock(self, offset_s: float) -> None:
        """Shift the wall clock that this Holdfast sees."""
        new = self.clock.with_suffix(".new")
        new.write_text(f"{offset_s}")
        new.replace(self.clock)

    def close(self) -> None:
        """Down, and gone: agents first, then what is left by its home id, then the directory."""
        home = Home(self.directory / "home")
        with contextlib.suppress(OSError, HoldfastError):
            if home.guard_lock.exists():
                self.home = home
                self.cli("down", "--timeout", str(DOWN_MAX_S))
            for pid in tree_of(home.home_id()):
                os.kill(pid, signal.SIGKILL)
        self.unmount()
        if "://" in getattr(self, "second", ""):
            _empty(self.second, self._faults)
        shutil.rmtree(self.directory, ignore_errors=True)


def is_well(row: dict[str, Any] | None) -> bool:
    """Up, past its gate, its endpoint good; an incident may still be open for confirmation."""
    if row is None or row["pid"] is None:
        return False
    levels = row["health"]
    good = levels["endpoint"] in ("ok", "off") and levels["behaviour"] != "failing"
    return bool(good and row["phase"] in ("healthy", "degraded", "recovering", "escalated"))


def tree_of(home_id: str, agent: str = "") -> list[int]:
    """Processes of a home's agents (or of one), found by the instance id in their environment."""
    marker = f"HOLDFAST_INSTANCE={home_id}:{agent + ':' if agent else ''}".encode()
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if any(one.startswith(marker) for one in Path("/proc", entry, "environ").read_bytes().split(b"\0")):
                found.append(int(entry))
    return found


def _name(fault: Fault) -> str:
    return f"drill-{fault.name}"


def _second(directory: Path) -> str:
    """Where the snapshots of lose-machine go beside the home."""
    bucket = os.environ.get(STORE_ENV, "").rstrip("/")
    if bucket:
        return f"{bucket}/{directory.name}"
    (directory / "second").mkdir(mode=0o700)
    return str(directory / "second")


def _empty(url: str, names: Iterable[str]) -> None:
    """Nothing of ours stays in a bucket; one that does not answer any more keeps it."""
    from holdfast.state.second_place import second_place
    from holdfast.state.store.objects import StoreError

    for name in names:
        with contextlib.suppress(StoreError):
            place = second_place.open_agent(url, name)
            for found in list(place.list("")):
                place.delete(found.name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def python() -> str:
    """A Python that the agent's own user can reach."""
    candidates = ("/usr/bin/python3", "/usr/local/bin/python3") if os.geteuid() == 0 else ()
    return next((one for one in candidates if os.access(one, os.X_OK)), os.path.realpath(sys.executable))


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return next((line for line in lines if line.startswith("HF")), lines[-1] if lines else "no reason was given")
