"""The keeper's durable store: a checkpoint in SQLite of what it remembers, as of one ledger record.

Invariants: the ledger is the truth and this file is only its shortcut, so losing it costs a replay and nothing
else. A checkpoint is one transaction. Whatever is wrong with the file or its disk, `put` and `flush` never raise:
a damaged file is set aside and written anew from memory; on a full or read-only disk the changes wait in memory.
Called by the keeper's loop alone.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FORMAT = 1
ASIDES_KEPT = 3  # damaged databases kept for a look; each may have two companions
_SCHEMA = """
CREATE TABLE IF NOT EXISTS item (
  kind TEXT NOT NULL, key TEXT NOT NULL, sum INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID
"""
_WRITE = "INSERT OR REPLACE INTO item (kind, key, sum, body) VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM item WHERE kind = ? AND key = ?"
_DAMAGE = ("malformed", "not a database", "disk image", "file is encrypted", "no such table", "no such column")

Items = dict[tuple[str, str], bytes]
"""What is stored: (kind, key) -> body. Kinds: meta, agent, incident, alert."""


class SetAside(NamedTuple):
    """A damaged database and where it went."""

    reason: str
    aside: str


class Store:
    """Write-behind: `put` remembers, `flush` writes what changed in one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.everything: Callable[[], Items] = dict  # gives the whole memory, for when the file is written anew
        self.outdated = False  # memory holds more than the file and its marks: the next flush writes all of it
        self._pending: dict[tuple[str, str], bytes | None] = {}
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self.paused = ""  # why nothing can be written at present
        self.set_aside: list[SetAside] = []  # taken by the keeper, which tells

    @property
    def dirty(self) -> bool:
        return bool(self._pending)

    def load(self) -> Items | None:
        """Everything stored; None when there is nothing usable (first start, or a damaged file set aside)."""
        if not self._path.exists():
            return None
        try:
            self._connect()
            assert self._db is not None
            return dict(_read(self._db))
        except (sqlite3.Error, ValueError, OSError) as error:
            if _disk_trouble(error):
                self.paused = str(error)
                return self._load_read_only()
            self.put_aside(str(error))
            return None

    def put(self, kind: str, key: str, body: bytes | None) -> None:
        """Remember a new body; None removes the item."""
        self._pending[kind, key] = body

    def flush(self) -> bool:
        """Write what changed. False when it has to wait; the changes are kept then."""
        if not self._pending and not self.outdated:
            return True
        try:
            if self._gone():
                self._close()
            if self._db is None:
                self._connect()
                self._pending = {**self.everything(), **self._pending}
            if self.outdated:
                assert self._db is not None
                stale: dict[tuple[str, str], bytes | None] = dict.fromkeys(dict(_read(self._db)))
                self._pending = {**stale, **self.everything(), **self._pending}
            self._write()
            self.outdated = False
        except (sqlite3.Error, OSError, ValueError) as error:
            if _damaged(error):
                self.put_aside(str(error))
                return self._write_anew()
            self._note(error)
            return False
        self.paused = ""
        return True

    def close(self) -> None:
        """Flush and let go."""
        self.flush()
        self._close()

    # --- the file ------------------------------------------------------------------------------------------------
    def _connect(self) -> None:
        old_mask = os.umask(0o077)
        try:
            db = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, cached_statements=16)
        finally:
            os.umask(old_mask)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA cache_size=-256")  # KiB: it is read once at the start
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, FORMAT):
                raise ValueError(f"its format {version} is not {FORMAT}")
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise ValueError("it is malformed")
            db.execute(_SCHEMA)
            db.execute(f"PRAGMA user_version={FORMAT}")
        except BaseException:
            db.close()
            raise
        status = os.stat(self._path)
        self._db, self._identity = db, (status.st_dev, status.st_ino)

    def _write(self) -> None:
        assert self._db is not None
        written = dict(self._pending)
        rows = [(kind, key, zlib.crc32(body), body) for (kind, key), body in written.items() if body is not None]
        gone = [pair for pair, body in written.items() if body is None]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(_WRITE, rows)
            self._db.executemany(_REMOVE, gone)
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self._pending.clear()

    def _write_anew(self) -> bool:
        try:
            self._connect()
            self._pending = {**self.everything(), **self._pending}
            self._write()
        except (sqlite3.Error, OSError, ValueError) as error:
            self._note(error)
            return False
        self.paused = ""
        return True

    def _gone(self) -> bool:
        """Whether the file we hold open is no longer the one at its path."""
        if self._db is None:
            return False
        try:
            status = os.stat(self._path)
        except OSError:
            return True
        return (status.st_dev, status.st_ino) != self._identity

    def _note(self, error: Exception) -> None:
        self.paused = str(error)
        self._close()

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _load_read_only(self) -> Items | None:
        """On a read-only disk the last checkpoint can still be read."""
        with contextlib.suppress(sqlite3.Error, ValueError):
            db = sqlite3.connect(f"file:{self._path}?mode=ro&immutable=1", uri=True)
            try:
                return dict(_read(db))
            finally:
                db.close()
        return None

    def put_aside(self, reason: str) -> None:
        """Move the damaged file out of the way; the next flush makes a new one from memory."""
        self._close()
        aside = self._path.with_name(f"{self._path.name}.corrupt-{int(time.time())}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.rename(f"{self._path}{suffix}", f"{aside}{suffix}")
        with contextlib.suppress(OSError):
            for old in sorted(self._path.parent.glob(f"{self._path.name}.corrupt-*"))[: -3 * ASIDES_KEPT]:
                old.unlink()
        self.set_aside.append(SetAside(reason, str(aside)))


def _read(db: sqlite3.Connection) -> Iterator[tuple[tuple[str, str], bytes]]:
    for kind, key, checksum, body in db.execute("SELECT kind, key, sum, body FROM item"):
        if not isinstance(body, bytes) or zlib.crc32(body) != checksum:
            raise ValueError(f"{kind} {key} does not match its sum")
        yield (kind, key), body


def _disk_trouble(error: Exception) -> bool:
    """Nothing is wrong with the file: its disk is full, read-only or failing."""
    text = str(error)
    return any(words in text for words in ("readonly", "disk is full", "disk I/O error", "Read-only", "No space"))


def _damaged(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, ValueError) or any(words in text for words in _DAMAGE)
