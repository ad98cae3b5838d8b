"""Those that keep versions of a directory, behind one protocol: Holdfast's worker, restic, borg in three settings.

All encrypt and make what they commit durable; all check what they restore by its ids. restic is Debian's package,
unpacked, or what is on PATH; borg is built from PyPI. An `Archive` object serves one repository.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from bench import install, processes
from bench.install import Unavailable
from bench.state_resident import Resident

BORG_VERSION = "1.4.5"
BORG_NEEDS = ("libacl1-dev", "libxxhash-dev", "liblz4-dev", "libzstd-dev", "libssl-dev", "pkg-config")
BORG_BUILD_S = 900.0
COMMAND_S = 900.0
AGENT_ID = 61_184  # user and group of the workspace's agent, as root: no account is needed


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one operation. `cpu_s`: user and system, with all children."""

    cpu_s: float
    wall_s: float
    rss_mb: float


class Archive(Protocol):
    """One repository in `place`, of one workspace."""

    name: ClassVar[str]
    setting: ClassVar[str]

    @classmethod
    def version(cls) -> str:
        """After making sure that it can be used. Raises Unavailable with the reason."""

    def __init__(self, place: Path, workspace: Path) -> None: ...

    def create(self) -> None: ...

    def snapshot(self, times: int = 1) -> Cost:
        """`times` in a row; the cost of one of them."""

    def restore(self, target: Path) -> Cost:
        """All of the newest one below `target`, which is empty."""

    def restore_file(self, path: Path, target: Path, times: int = 1) -> Cost:
        """One file of the workspace, each time to a fresh directory below `target`; the cost of one of them."""

    def size_bytes(self) -> int: ...


class Holdfast:
    name: ClassVar[str] = "holdfast"
    setting: ClassVar[str] = (
        "jobs through its worker process, which is resident; the worker and all its children are counted, the files "
        "are touched with the agent's rights; what is restored is synced to the disk"
    )

    @classmethod
    def version(cls) -> str:
        from holdfast import __version__

        return __version__

    def __init__(self, place: Path, workspace: Path) -> None:
        self.place = place
        self._args = {
            "agent": "one",
            "state_dir": str(place / "state"),
            "directory": str(place / "state" / "one"),
            "rights": [AGENT_ID, AGENT_ID, []] if os.getuid() == 0 else None,
            "paths": [str(workspace)],
            "exclude": [],
            "store": None,
            "encrypt": True,
            "capture": "guard",
            "budget_bytes": None,
            "recipe": "process",
            "user": "",
            "spec": "{}",
            "cause": "timer",
        }
        self.newest = ""
        self.notes: list[str] = []

    def create(self) -> None:
        (self.place / "state" / "one").mkdir(parents=True)

    def snapshot(self, times: int = 1, more: dict[str, object] | None = None) -> Cost:
        return self._cost(times, lambda resident, number: self.take(resident, more))

    def take(self, resident: Resident, more: dict[str, object] | None = None) -> float:
        """One snapshot by a worker that is there; seconds it took."""
        found, took_s = resident.job("snapshot", {**self._args, **(more or {})})
        self.newest = found["snapshot"]["id"] if found["snapshot"] else found["unchanged_since"]
        self.notes.append(found["snapshot"]["consistency"] if found["snapshot"] else "")
        return took_s

    def restore(self, target: Path) -> Cost:
        return self._restores(target, 1, None)

    def restore_file(self, path: Path, target: Path, times: int = 1) -> Cost:
        return self._restores(target, times, str(path))

    def size_bytes(self) -> int:
        return _size(self.place / "state" / "one" / "repo")

    def resident(self) -> Resident:
        return Resident(self.place / "worker.log")

    def _restores(self, target: Path, times: int, path: str | None) -> Cost:
        if os.getuid() == 0:
            os.chown(target, AGENT_ID, AGENT_ID)
        more = {"snapshot": self.newest, "path": path}
        return self._cost(
            times,
            lambda resident, number: resident.job(
                "restore-build", {**self._args, **more, "to": str(target / str(number))}
            )[1],
        )

    def _cost(self, times: int, act: Callable[[Resident, int], float]) -> Cost:
        """A worker of its own for each measurement, so that its largest process is known; its start is not counted."""
        with self.resident() as resident:
            resident.job("key", self._args)
            before = resident.used()["cpu_s"]
            walls = [act(resident, number) for number in range(times)]
            after = resident.used()
        return Cost((after["cpu_s"] - before) / times, sum(walls) / times, after["rss_mb"])


class _Program:
    """An archive that is a command, started anew for each operation."""

    def __init__(self, place: Path, workspace: Path) -> None:
        self.place, self.workspace = place, workspace
        self.repository = place / "repository"

    def _env(self) -> dict[str, str]:
        raise NotImplementedError

    def _run(self, *argv: str | Path, cwd: Path | None = None) -> Cost:
        report = self.place / "cost.json"
        timer: list[str | Path] = [sys.executable, "-I", "-S", Path(__file__).with_name("state_timer.py"), report]
        environment = {**os.environ, "HOME": str(self.place), **self._env()}
        processes.command([*timer, *argv], self.place / "log", timeout_s=COMMAND_S, env=environment, cwd=cwd)
        return Cost(**json.loads(report.read_text()))

    def _repeat(self, times: int, *argv: str | Path) -> Cost:
        return mean([self._run(*argv) for _ in range(times)])

    def size_bytes(self) -> int:
        return _size(self.repository)


class Restic(_Program):
    name: ClassVar[str] = "restic"
    setting: ClassVar[str] = "repository format 2, compression auto, its cache kept, a process for each operation"

    @classmethod
    def version(cls) -> str:
        text = processes.command([cls.program(), "version"], install.TOOLS / "restic.log", timeout_s=20)
        return text.split()[1]

    @staticmethod
    def program() -> Path:
        found = shutil.which("restic")
        place = install.TOOLS / "restic"
        if found:
            return Path(found)
        program = place / "usr/bin/restic"
        if not program.exists():
            if not install.may_install or not shutil.which("apt-get"):
                raise Unavailable("not installed (Debian's package restic; `./dev bench` fetches it)")
            place.mkdir(parents=True, exist_ok=True)
            _step(["apt-get", "download", "restic"], "restic", place)
            _step(["dpkg", "-x", next(place.glob("restic_*.deb")), place], "restic", place)
        return program

    def create(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        self._run(self.program(), "init", "--repository-version", "2")

    def snapshot(self, times: int = 1) -> Cost:
        return self._repeat(times, self.program(), "backup", "--quiet", self.workspace)

    def restore(self, target: Path) -> Cost:
        return self._run(self.program(), "restore", "latest", "--target", target)

    def restore_file(self, path: Path, target: Path, times: int = 1) -> Cost:
        asked = [(path, target / str(number)) for number in range(times)]
        return mean([self._run(self.program(), "restore", "latest", "--target", to, "--include", p) for p, to in asked])

    def _env(self) -> dict[str, str]:
        return {
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(self.place / "cache"),
        }


class Borg(_Program):
    name: ClassVar[str] = "borg"
    setting: ClassVar[str] = "repokey-blake2, compression zstd,3 as Holdfast's, its caches kept, a process each"
    options: ClassVar[tuple[str, ...]] = ("--compression", "zstd,3")

    def __init__(self, place: Path, workspace: Path) -> None:
        super().__init__(place, workspace)
        self._number = 0

    @classmethod
    def version(cls) -> str:
        text = processes.command([cls.program(), "--version"], install.TOOLS / "borg.log", timeout_s=60)
        return text.split()[1]

    @staticmethod
    def program() -> Path:
        place = install.TOOLS / "borg"
        program = place / "bin/borg"
        if not program.exists():
            if not install.may_install:
                raise Unavailable("not installed (`./dev bench` builds it)")
            if os.getuid() == 0 and shutil.which("apt-get"):
                _step(["apt-get", "install", "-y", "--no-install-recommends", *BORG_NEEDS], "borg", install.TOOLS)
            _step([sys.executable, "-m", "venv", place], "borg", install.TOOLS)
            _step([place / "bin/pip", "install", "--quiet", f"borgbackup=={BORG_VERSION}"], "borg", install.TOOLS)
        return program

    def create(self) -> None:
        self.place.mkdir(parents=True, exist_ok=True)
        self._run(self.program(), "init", "--encryption=repokey-blake2", self.repository)

    def snapshot(self, times: int = 1) -> Cost:
        return mean([self._one() for _ in range(times)])

    def _one(self) -> Cost:
        self._number += 1
        archive = f"{self.repository}::{self._number}"
        return self._run(self.program(), "create", *self.options, archive, self.workspace)

    def restore(self, target: Path) -> Cost:
        return self._run(self.program(), "extract", f"{self.repository}::{self._number}", cwd=target)

    def restore_file(self, path: Path, target: Path, times: int = 1) -> Cost:
        costs = []
        for number in range(times):
            (target / str(number)).mkdir()
            archive, wanted = f"{self.repository}::{self._number}", str(path).lstrip("/")
            costs.append(self._run(self.program(), "extract", archive, wanted, cwd=target / str(number)))
        return mean(costs)

    def _env(self) -> dict[str, str]:
        return {"BORG_BASE_DIR": str(self.place), "BORG_PASSPHRASE": "bench"}


class BorgFixed(Borg):
    name: ClassVar[str] = "borg-fixed"
    setting: ClassVar[str] = "as borg, with --chunker-params fixed,16384: tuned for databases"
    options: ClassVar[tuple[str, ...]] = (*Borg.options, "--chunker-params", "fixed,16384")


class BorgLz4(Borg):
    name: ClassVar[str] = "borg-lz4"
    setting: ClassVar[str] = "as borg, with its default compression lz4: less work, more bytes"
    options: ClassVar[tuple[str, ...]] = ()


ALL: tuple[type[Archive], ...] = (Holdfast, Restic, Borg, BorgFixed, BorgLz4)


def mean(costs: list[Cost]) -> Cost:
    """Of one of several in a row; the largest memory of them."""
    count = len(costs)
    return Cost(
        sum(cost.cpu_s for cost in costs) / count,
        sum(cost.wall_s for cost in costs) / count,
        max(cost.rss_mb for cost in costs),
    )


def give(workspace: Path, user: int) -> None:
    """As root: to the agent's user. Only what is not its own yet, since everybody reads again what is given away."""
    if os.getuid() != 0:
        return
    for where, _, names in os.walk(workspace):
        for path in [where, *(os.path.join(where, name) for name in names)]:
            if os.lstat(path).st_uid != user:
                os.chown(path, user, user)


def _size(directory: Path) -> int:
    return sum(os.lstat(os.path.join(where, name)).st_size for where, _, names in os.walk(directory) for name in names)


def _step(argv: list[str | Path], package: str, cwd: Path) -> None:
    install.TOOLS.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    try:
        log = install.TOOLS / f"install-{package}.log"
        processes.command(argv, log, timeout_s=BORG_BUILD_S, env=environment, cwd=cwd)
    except (OSError, processes.CommandFailed, processes.TooSlow) as error:
        raise Unavailable(f"could not be installed: {str(error)[:200]}") from error
