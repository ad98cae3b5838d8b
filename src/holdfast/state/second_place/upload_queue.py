"""What waits for the second place, what is known to be there, and what was deleted on purpose: uploads.db.

Invariants: an object counts as there only after the second place said so; a round (the packs and manifests chosen
together) is kept until all of it is sent, so that a slow line ends in a whole snapshot; nothing is deleted there
without a word of this machine that it was deleted here. All of it but those words can be made again: a damaged file is
set aside. Called by upload.py.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.state.store.objects import Stored

FILE_NAME = "uploads.db"
_VERSION = 1
_BUSY_S = 10.0
_TABLES = """
CREATE TABLE IF NOT EXISTS said (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS there (name TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS round (place INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS gone (name TEXT PRIMARY KEY, after_at REAL NOT NULL) WITHOUT ROWID;
"""


class Queue:
    """One writer; readers at any time. `state_dir`: HOME/state/AGENT. Raises OSError, sqlite3.Error (a full disk)."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._db = self._opened()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self._path.replace(self._path.with_name(f"{FILE_NAME}.damaged-{int(time.time())}"))
            for suffix in ("-wal", "-shm"):
                self._path.with_name(FILE_NAME + suffix).unlink(missing_ok=True)
            self._db = self._opened()

    def _opened(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA synchronous=FULL")
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:  # who only reads waits for no writer
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript(_TABLES)
                db.execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _together(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def said(self, key: str) -> str | None:
        found = self._db.execute("SELECT value FROM said WHERE key = ?", (key,)).fetchone()
        return str(found[0]) if found else None

    def say(self, **values: object) -> None:
        with self._together():
            self._db.executemany("INSERT OR REPLACE INTO said VALUES (?, ?)", [(k, str(v)) for k, v in values.items()])

    def number(self, key: str) -> float | None:
        """What was said, as a number; None when nothing was."""
        text = self.said(key)
        return float(text) if text is not None else None

    def begin_with(self, where: str, repository: str) -> bool:
        """Whether this place was used last as well; for another one, all that is known of the former is forgotten."""
        if (self.said("where"), self.said("repository")) == (where, repository):
            return True
        with self._together():
            self._db.execute("DELETE FROM there")
            self._db.execute("DELETE FROM round")
            self._db.execute("DELETE FROM said WHERE key NOT LIKE 'other_disk:%'")
        self.say(where=where, repository=repository)
        return False

    def there(self) -> dict[str, int]:
        """Names and sizes of what the second place has."""
        return dict(self._db.execute("SELECT name, size FROM there"))

    def has_there(self, found: Iterable[Stored]) -> None:
        """All of what was found there, instead of what was known."""
        rows = [(one.name, one.size) for one in found]  # first: a listing takes its time, and readers would wait
        with self._together():
            self._db.execute("DELETE FROM there")
            self._db.executemany("INSERT OR REPLACE INTO there VALUES (?, ?)", rows)

    def sent(self, name: str, size: int) -> None:
        with self._together():
            self._db.execute("INSERT OR REPLACE INTO there VALUES (?, ?)", (name, size))
            self._db.execute("DELETE FROM round WHERE name = ?", (name,))

    def deleted_there(self, name: str) -> None:
        with self._together():
            self._db.execute("DELETE FROM there WHERE name = ?", (name,))
            self._db.execute("DELETE FROM gone WHERE name = ?", (name,))

    def round(self) -> list[tuple[str, int]]:
        """What is left of the round under way, in the order of sending."""
        return [(name, size) for name, size in self._db.execute("SELECT name, size FROM round ORDER BY place")]

    def begin_round(self, objects: Iterable[tuple[str, int]]) -> None:
        """Instead of the one before."""
        with self._together():
            self._db.execute("DELETE FROM round")
            self._db.executemany("INSERT INTO round (name, size) VALUES (?, ?)", objects)

    def note_deleted(self, names: Iterable[str], after_at: float = 0.0) -> None:
        """These objects are deleted here on purpose, or will be after `after_at`. Said before they are deleted."""
        with self._together():
            self._db.executemany("INSERT OR REPLACE INTO gone VALUES (?, ?)", ((name, after_at) for name in names))

    def forget_deleted(self, living: set[str]) -> None:
        """These are not deleted after all."""
        noted = {name for (name,) in self._db.execute("SELECT name FROM gone")}
        with self._together():
            self._db.executemany("DELETE FROM gone WHERE name = ?", ((name,) for name in noted & living))

    def gone(self, now_at: float) -> set[str]:
        return {name for (name,) in self._db.execute("SELECT name FROM gone WHERE after_at <= ?", (now_at,))}
