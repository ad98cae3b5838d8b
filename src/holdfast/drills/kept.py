"""What an agent of a drill keeps on disk, from outside: what is in it, hurting it, and what came back.

Invariant: only plain files are read that the throw-away agent itself wrote, so that looking changes nothing of its
database; of a user's agent nothing is deleted, and what is overwritten is in a snapshot. Called by state_ways.py.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from holdfast.drills.agent import BEGUN

STATE = "data"  # below the throw-away agent's working directory
DATABASE = "work.db"
TEXT = "work.json"
HEADER = b"SQLite format 3\0"
WRITTEN_MAX_BYTES = 1 << 20  # of one file: enough for any program to refuse it
FILES_MAX = 8
AHEAD = 2  # the database is written first, the JSON after it


class Count(Struct, frozen=True, kw_only=True):
    """How far the throw-away agent had counted, and when it did so last (wall clock)."""

    n: int
    at: float


class Begun(Struct, frozen=True, kw_only=True):
    """What an instance found when it began. `restored`: what it was told that it is restored from."""

    n: int
    at: float
    json: int
    whole: bool
    instance: int
    restored: str

    def broken(self) -> str:
        """Why that is no state of one moment; "": it is."""
        if not self.whole:
            return "its database is not whole"
        return "" if abs(self.n - self.json) <= AHEAD else f"its database says {self.n}, its JSON {self.json}"


def count(place: Path) -> Count | None:
    """None: its JSON is gone, or garbage."""
    try:
        told = json.loads((place / STATE / TEXT).read_bytes())
        return Count(n=told["n"], at=told["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def begun(place: Path) -> Begun | None:
    try:
        told = json.loads((place / BEGUN).read_bytes())
        number = int(told.pop("instance").rpartition(":")[2])
        return Begun(instance=number, **told)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def looked_at(directory: Path) -> tuple[int, str]:
    """What a restored copy holds: the count, and why it is not whole ("": it is)."""
    uri = f"file:{quote(str(directory / STATE / DATABASE))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as base:
            whole = base.execute("PRAGMA quick_check").fetchone()[0]
            counts = [row[0] for row in base.execute("SELECT n FROM work")]
        told = json.loads((directory / STATE / TEXT).read_bytes())["n"]
    except (sqlite3.Error, OSError, ValueError, KeyError, TypeError) as error:
        return 0, f"{type(error).__name__}: {error}"
    if whole != "ok" or len(set(counts)) != 1 or abs(counts[0] - told) > AHEAD:
        return counts[0], f"quick_check says {whole}, the counts are {counts} and {told}"
    return counts[0], ""


def corrupt(paths: list[str]) -> list[str]:
    """Overwrite databases and JSON files below these paths with garbage, in place; those that were. Raises OSError."""
    hurt = []
    for path in _targets(paths):
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            length = min(max(os.fstat(fd).st_size, 64), WRITTEN_MAX_BYTES)
            os.pwrite(fd, os.urandom(length), 0)
        finally:
            os.close(fd)
        hurt.append(path)
    return hurt


def _targets(paths: list[str]) -> Iterator[str]:
    """The log before its database: what is in it would mend the garbage."""
    found = 0
    for top in paths:
        inside = (os.path.join(at, name) for at, _, names in os.walk(top) for name in sorted(names))
        for path in [top] if os.path.isfile(top) else inside:
            is_database = _begins(path) == HEADER
            if found >= FILES_MAX or os.path.islink(path) or not (is_database or path.endswith(".json")):
                continue
            found += 1
            if is_database and os.path.isfile(f"{path}-wal"):
                yield f"{path}-wal"
            yield path


def _begins(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, len(HEADER))
    except OSError:
        return b""
    finally:
        os.close(fd)


def delete(place: Path) -> None:
    """The throw-away agent's state, all of it; it may be written while it goes. Raises OSError."""
    away = place / f".{STATE}-gone"
    os.rename(place / STATE, away)
    shutil.rmtree(away, ignore_errors=True)
