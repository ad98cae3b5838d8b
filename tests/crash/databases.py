"""Databases copied while they are written: `python -m tests.crash.databases [--trials N] [--seed N] [--bug NAME]`.

Each trial takes one database from under a writer, with the pieces of the trial before where those are said to be the
same, and judges the image alone: integrity check, the writer's invariant, its journal mode, and that it is neither
older than what was committed before nor newer than what was begun after.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from holdfast.state.capture import freeze
from holdfast.state.databases import database, guard, sqlite_reuse
from holdfast.state.databases.sqlite_image import PIECE_BYTES
from holdfast.state.model import Rights
from tests.crash.database_writer import Ground, Progress, start

GROUNDS = (
    Ground("wal", 4096),
    Ground("wal", 512, payload_bytes=120),
    Ground("wal", 4096, calm=True),
    Ground("wal", 1024, calm=True, other_user=True),
    Ground("wal", 65_536),
    Ground("wal", 4096, other_user=True),
    Ground("wal", 1024, payload_bytes=3000),
    Ground("delete", 4096),
    Ground("truncate", 1024, other_user=True),
    Ground("persist", 8192),
    Ground("delete", 65_536),
    Ground("wal", 4096, locking="exclusive"),
    Ground("delete", 2048, locking="exclusive"),
)
BUGS = ("naive-copy", "no-guard", "stale-pieces")
TRIALS_A_WRITER = 20
_NOBODY = 65_534
_WAIT_S = 90.0


class Broken(AssertionError):
    """An image that no moment of the database ever looked like."""


@dataclass
class Report:
    trials: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    fuzzy: Counter[str] = field(default_factory=Counter)
    pieces_read: int = 0
    pieces_same: int = 0
    pauses_ms: list[float] = field(default_factory=list)
    hold_ms: list[float] = field(default_factory=list)  # until capture() returned

    def said(self) -> dict[str, Any]:
        return {
            "trials": self.trials,
            "consistent": self.trials - sum(self.fuzzy.values()),
            "fuzzy": dict(self.fuzzy),
            "kinds": dict(self.kinds),
            "pieces_read": self.pieces_read,
            "pieces_same": self.pieces_same,
            "hold_ms": _spread(self.hold_ms),
            "pauses": len(self.pauses_ms),
            "pause_ms": _spread(self.pauses_ms),
        }


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    at = {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * part))] for name, part in (("p50", 0.5), ("p99", 0.99))
    }
    return {name: round(value, 1) for name, value in (at | {"max": ordered[-1]}).items()}


class Subject:
    """One database with its writer."""

    def __init__(self, directory: str, ground: Ground, chance: random.Random, report: Report) -> None:
        self.directory, self.ground, self._chance, self._report = directory, ground, chance, report
        self.rights = Rights(uid=_NOBODY, gid=_NOBODY) if ground.other_user and os.geteuid() == 0 else None
        self.path = f"{directory}/state.db"
        self.progress = Progress()
        self.pid = 0
        self._freezer = freeze.Watched(lambda: freeze.Signals(lambda: [self.pid]))
        self._image, self._trace = b"", None

    def begin(self) -> None:
        self.pid = start(self.path, self.ground, self.progress, self._chance.randrange(2**32), self.rights)
        self.await_commits(3)

    def await_commits(self, count: int) -> None:
        wanted, deadline = self.progress.read()[1] + count, time.monotonic() + _WAIT_S
        while self.progress.read()[1] < wanted:
            if time.monotonic() > deadline:
                raise Broken(f"the writer stands still: {self.ground}")
            time.sleep(0.0005)

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def trial(self) -> None:
        """Raises Broken."""
        report, exclusive = self._report, self.ground.locking == "exclusive"
        if self._chance.random() < 0.08:
            self.kill()
        committed = self.progress.read()[1]
        directory_fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            begun_mono = time.monotonic()
            freezer = self._freezer if exclusive and self.pid else None
            with database.capture(
                directory_fd, b"state.db", self.rights, self._trace, freezer=freezer, scratch=self.directory
            ) as taken:
                report.hold_ms.append((time.monotonic() - begun_mono) * 1000)
                image = b"".join(self._pieces(taken))
        finally:
            os.close(directory_fd)
        begun = self.progress.read()[0]
        report.trials += 1
        report.kinds[self._kind()] += 1
        if getattr(taken, "image", None) and taken.image.overlay and not taken.image.salts:
            report.kinds["hot journal put back"] += 1
        if taken.fuzzy:
            report.fuzzy[f"{taken.fuzzy} ({self._kind()})"] += 1
        else:
            self._judge(image, committed, begun)
        self._image, self._trace = image, taken.trace
        if not self.pid:
            self.begin()
        report.pauses_ms += [pause * 1000 for pause in self._freezer.pauses_s]
        self._freezer.pauses_s.clear()

    def _kind(self) -> str:
        calm = " calm" if self.ground.calm else ""
        user = " other user" if self.rights else ""
        exclusive = " exclusive" if self.ground.locking == "exclusive" else ""
        return f"{self.ground.journal} {self.ground.page_size}{exclusive}{calm}{user}{'' if self.pid else ' killed'}"

    def _pieces(self, taken: database.Capture) -> Iterator[bytes]:
        """As the caller of a capture puts them together; in some trials the writer gets on meanwhile."""
        position, pause_at = 0, self._chance.randrange(max(1, taken.size)) if self._chance.random() < 0.5 else -1
        for piece in taken:
            if isinstance(piece, int):
                data = self._image[position : position + piece * PIECE_BYTES]
                self._report.pieces_same += piece
            else:
                data = piece
                self._report.pieces_read += 1
            yield data
            position += len(data)
            if 0 <= pause_at <= position and self.pid:
                pause_at = -1
                self.await_commits(self._chance.randrange(1, 120))

    def _judge(self, image: bytes, committed: int, begun: int) -> None:
        copy = f"{self.directory}/judged/copy.db"
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        with open(copy, "wb") as file:
            file.write(image)
        number, journal = judge(copy)
        shutil.rmtree(os.path.dirname(copy))
        if (journal == "wal") != (self.ground.journal == "wal"):
            raise Broken(f"the journal mode became {journal}: {self.ground}")
        # A transaction that was under way when its writer was killed may be there or not, and so may rolled back ones.
        if not committed - _rolled_back(committed) <= number <= begun:
            raise Broken(f"of transaction {number}, not of {committed} to {begun}: {self.ground}")

    def left_behind(self) -> list[str]:
        """Files that are neither the database's own nor its user's."""
        own = {"state.db", "state.db-wal", "state.db-shm", "state.db-journal"}
        uid = self.rights.uid if self.rights else os.geteuid()
        found = []
        for entry in os.scandir(self.directory):
            if entry.name not in own or entry.stat().st_uid != uid:
                found.append(entry.name)
        return found


def _rolled_back(_: int) -> int:
    """Numbers that a rolled-back transaction leaves out: `clock` may be behind by so many."""
    return 8


def judge(path: str) -> tuple[int, str]:
    """The number of its last transaction and its journal mode. Raises Broken."""
    link = sqlite3.connect(path)
    try:
        said = link.execute("PRAGMA integrity_check").fetchall()
        if said != [("ok",)]:
            raise Broken(f"integrity check: {said[:3]}")
        total = link.execute("SELECT sum(value) FROM pair").fetchone()[0]
        if total != 0:
            raise Broken(f"the sum is {total}")
        left, right = (
            link.execute(f"SELECT n FROM {table} ORDER BY n").fetchall() for table in ("left_log", "right_log")
        )
        if left != right:
            raise Broken("one half of a transaction")
        number = link.execute("SELECT n FROM clock").fetchone()[0]
        if left and left[-1][0] != number:
            raise Broken("the clock and the logs are of two transactions")
        return number, link.execute("PRAGMA journal_mode").fetchone()[0]
    except sqlite3.DatabaseError as e:
        raise Broken(f"unreadable: {e}") from e
    finally:
        link.close()


def campaign(trials: int, seed: int, grounds: tuple[Ground, ...] = GROUNDS, place: str | None = None) -> Report:
    """Below the directory `place`, which other users must be able to reach when we are root. Raises Broken."""
    chance, report = random.Random(seed), Report()
    while report.trials < trials:
        for ground in grounds:
            if report.trials >= trials:
                break
            directory = tempfile.mkdtemp(prefix="holdfast-databases-", dir=place)
            os.chmod(directory, 0o755)
            if ground.other_user and os.geteuid() == 0:
                os.chown(directory, _NOBODY, _NOBODY)
            subject = Subject(directory, ground, chance, report)
            try:
                subject.begin()
                for _ in range(min(TRIALS_A_WRITER, trials - report.trials, max(1, trials // len(grounds)))):
                    subject.trial()
                subject.kill()
                if found := subject.left_behind():
                    raise Broken(f"left behind: {found}: {ground}")
            except Broken as e:
                raise Broken(f"trial {report.trials} of seed {seed}, {ground}: {e}") from e
            finally:
                subject.kill()
                shutil.rmtree(directory, ignore_errors=True)
    return report


# --- planted bugs ----------------------------------------------------------------------------------------------------
@contextmanager
def planted(bug: str) -> Iterator[None]:
    """With one of BUGS in the code under test."""
    if bug == "no-guard":
        with mock.patch.object(guard, "start", _no_guard):
            yield
    elif bug == "stale-pieces":
        with mock.patch.object(sqlite_reuse, "differing", lambda before, *_: None if before is None else []):
            yield
    else:
        with mock.patch.object(database, "capture", _naive_copy):
            yield


class _NoGuard:
    def holds(self) -> bool:
        return True

    def close(self) -> None: ...


def _no_guard(*_: object) -> _NoGuard:
    return _NoGuard()


@contextmanager
def _naive_copy(directory_fd: int, name: bytes, *_: object, **__: object) -> Iterator[Any]:
    """`cp` of the database and of what stands beside it, then opened."""
    directory = os.readlink(f"/proc/self/fd/{directory_fd}")
    copies = tempfile.mkdtemp(prefix="naive-", dir=directory)
    try:
        for suffix in ("", "-wal", "-journal"):
            with suppress(FileNotFoundError):  # it may end at any moment
                shutil.copy(f"{directory}/{name.decode()}{suffix}", f"{copies}/copy.db{suffix}")
        link = sqlite3.connect(f"{copies}/copy.db")
        try:
            mode = link.execute("PRAGMA journal_mode").fetchone()[0]
            link.execute("PRAGMA wal_checkpoint(truncate)")
        except sqlite3.DatabaseError as e:
            raise Broken(f"unreadable: {e}") from e
        finally:
            link.close()
        with open(f"{copies}/copy.db", "rb") as file:
            image = file.read()
        del mode
        yield _Copied(image)
    finally:
        shutil.rmtree(copies)


class _Copied:
    fuzzy, trace = "", None

    def __init__(self, image: bytes) -> None:
        self.size, self._image = len(image), image

    def __iter__(self) -> Iterator[bytes]:
        yield self._image


def main(arguments: Callable[[], argparse.Namespace]) -> int:
    options = arguments()
    begun_mono = time.monotonic()
    if options.bug:
        with planted(options.bug):
            try:
                campaign(options.trials, options.seed)
            except Broken as e:
                print(json.dumps({"bug": options.bug, "caught": str(e)}))
                return 0
        print(json.dumps({"bug": options.bug, "caught": None}))
        return 1
    grounds = GROUNDS if options.ground is None else (GROUNDS[options.ground],)
    report = campaign(options.trials, options.seed, grounds)
    said = report.said() | {"seed": options.seed, "wall_s": round(time.monotonic() - begun_mono, 1)}
    print(json.dumps(said, indent=2))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.databases")
    parser.add_argument("--trials", type=int, default=int(os.environ.get("HOLDFAST_DATABASE_TRIALS", "200")))
    parser.add_argument("--seed", type=int, default=20_261_121)
    parser.add_argument("--bug", choices=BUGS)
    parser.add_argument("--ground", type=int, help="only this one, counted from 0")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main(_arguments))
