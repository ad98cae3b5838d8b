"""Where each blob lies: a cache in SQLite, made from the packs' footers, that may be deleted at any time.

It never says that a blob is stored unless its pack was stored before, also after a power cut: a pack and its blobs
are entered in one transaction, after the pack, and `sync` takes out what the store no longer lists. Readers check
every blob by its id whatever this says. A cache that cannot be read or written (changed bytes, a full disk) is replaced
by one in memory, in the middle of whatever was asked. Called by the repository, the writer and gc; each process opens
its own and uses it in one thread at a time.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from holdfast.state.model import BlobId
from holdfast.state.store.damage import Damaged
from holdfast.state.store.names import PACKS, read_pack
from holdfast.state.store.objects import Missing, Store
from holdfast.state.store.pack import Footer, FrameRow

FILE_NAME = "index.db"
_LAYOUT = 1  # of the tables; another one is thrown away and made again
_BUSY_MS = 30_000  # another process of ours enters a pack, which takes milliseconds
_CACHE_KIB = 8192
_ASKED_AT_ONCE = 256  # ids in one query
_TABLES = """
CREATE TABLE pack (number INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, size INTEGER NOT NULL,
  header BLOB NOT NULL, blobs INTEGER NOT NULL, raw INTEGER NOT NULL);
CREATE TABLE frame (pack INTEGER NOT NULL, number INTEGER NOT NULL, offset INTEGER NOT NULL, stored INTEGER NOT NULL,
  raw INTEGER NOT NULL, compressed INTEGER NOT NULL, PRIMARY KEY (pack, number)) WITHOUT ROWID;
CREATE TABLE blob (id BLOB NOT NULL, pack INTEGER NOT NULL, frame INTEGER NOT NULL, inner INTEGER NOT NULL,
  length INTEGER NOT NULL, kind INTEGER NOT NULL, PRIMARY KEY (id, pack)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class PackFacts:
    """One pack as the index knows it. `size`: as stored; `raw`: of its blobs before compression; both bytes."""

    number: int
    name: str
    size: int
    header: bytes
    blobs: int
    raw: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob lies. `pack` and `frame` are numbers; `inner` and `length` count bytes of the raw frame."""

    pack: int
    frame: int
    inner: int
    length: int


ReadFooter = Callable[[str, int], tuple[bytes, Footer]]  # of a pack, by name and size: header and footer
_P = ParamSpec("_P")
_R = TypeVar("_R")
_Method = Callable[Concatenate["Index", _P], _R]


def _surviving(method: _Method[_P, _R]) -> _Method[_P, _R]:
    """What fails for the cache's sake is done once more, in memory."""

    @wraps(method)
    def again(self: Index, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except sqlite3.Error as error:
            self.to_memory(error)
            return method(self, *args, **kwargs)

    return again


class Index:
    """Of one repository. `unreadable`: packs whose footer is damaged, with the reason."""

    def __init__(self, directory: Path | None) -> None:
        """None: in memory."""
        self.unreadable: dict[str, str] = {}
        self.synced = False
        self._directory = directory
        self._source: tuple[Store, ReadFooter] | None = None
        self._packs: dict[int, PackFacts] = {}
        self._condemned_names: frozenset[str] = frozenset()
        self._condemned: frozenset[int] = frozenset()
        try:
            self._db = _in_memory() if directory is None else _prepared(directory / FILE_NAME)
        except (sqlite3.Error, OSError) as error:
            self._db = _in_memory()
            self._discard_if_broken(error)

    def close(self) -> None:
        self._db.close()

    def to_memory(self, error: sqlite3.Error) -> None:
        """Give up the cache on the disk. Raises `error` when it was in memory already; StoreError."""
        if self._directory is None:
            raise error
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._discard_if_broken(error)
        self._directory = None
        self._db = _in_memory()
        self._packs.clear()
        if self._source is not None:
            self.sync(*self._source)

    def _discard_if_broken(self, error: Exception) -> None:
        """A full disk or a busy file breaks nothing: SQLite's operational errors leave the cache as it is."""
        if self._directory is not None and type(error) is sqlite3.DatabaseError:
            discard(self._directory)

    @_surviving
    def sync(self, store: Store, read_footer: ReadFooter) -> None:
        """Know the store's packs and no others. A pack whose size changed counts as another one. Raises StoreError."""
        self._source = (store, read_footer)
        listed = {pack: stored.size for stored in store.list(PACKS) if (pack := read_pack(stored.name))}
        known: dict[str, int] = dict(self._db.execute("SELECT name, size FROM pack"))
        self.drop(name for name, size in known.items() if listed.get(name) != size)
        self.unreadable.clear()
        for name, size in listed.items():
            if known.get(name) != size:
                self._sync_one(name, size, read_footer)
        self.condemn(self._condemned_names)
        self.synced = True

    def _sync_one(self, name: str, size: int, read_footer: ReadFooter) -> None:
        """The blobs of a pack without a footer are not known, so they are stored again when they are met."""
        try:
            header, footer = read_footer(name, size)
        except Damaged as damaged:
            self.unreadable[name] = damaged.reason
        except Missing:
            pass  # deleted since it was listed
        else:
            self.add(name, size, header, footer)

    @_surviving
    def condemn(self, names: Iterable[str]) -> None:
        """Packs that are about to be deleted: what they hold counts as absent for `kept` and `all_kept`."""
        self._condemned_names = frozenset(names)
        known = self._db.execute("SELECT number, name FROM pack") if self._condemned_names else ()
        self._condemned = frozenset(number for number, name in known if name in self._condemned_names)

    @_surviving
    def add(self, name: str, size: int, header: bytes, footer: Footer) -> None:
        """A pack that is in the store."""
        with self._changing():
            if self._db.execute("SELECT 1 FROM pack WHERE name = ?", (name,)).fetchone():
                return
            cursor = self._db.execute(
                "INSERT INTO pack (name, size, header, blobs, raw) VALUES (?, ?, ?, ?, ?)",
                (name, size, header, len(footer.blobs), sum(row[3] for row in footer.blobs)),
            )
            number = cursor.lastrowid
            self._db.executemany(
                "INSERT INTO frame VALUES (?, ?, ?, ?, ?, ?)",
                ((number, at, *row) for at, row in enumerate(footer.frames)),
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?, ?, ?)",
                ((row[0], number, *row[1:]) for row in sorted(footer.blobs)),  # sorted: the tree is walked once
            )

    @_surviving
    def drop(self, names: Iterable[str]) -> None:
        """Packs that are not, or are about not to be, in the store. Unknown names are passed over.

        Many at once cost one look through all blobs, as does a single one.
        """
        numbers = {name: number for number, name in self._db.execute("SELECT number, name FROM pack")}
        gone = [numbers[name] for name in dict.fromkeys(names) if name in numbers]
        for at in range(0, len(gone), _ASKED_AT_ONCE):
            some = gone[at : at + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(some))
            with self._changing():
                for table, column in (("blob", "pack"), ("frame", "pack"), ("pack", "number")):
                    self._db.execute(f"DELETE FROM {table} WHERE {column} IN ({marks})", some)
            for number in some:
                self._packs.pop(number, None)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    @_surviving
    def packs(self) -> list[PackFacts]:
        rows = self._db.execute("SELECT number, name, size, header, blobs, raw FROM pack ORDER BY number")
        return [PackFacts(*row) for row in rows]

    @_surviving
    def pack(self, number: int) -> PackFacts:
        """Raises KeyError when it is gone."""
        facts = self._packs.get(number)
        if facts is None:
            row = self._db.execute(
                "SELECT number, name, size, header, blobs, raw FROM pack WHERE number = ?", (number,)
            ).fetchone()
            if row is None:
                raise KeyError(number)
            facts = self._packs[number] = PackFacts(*row)
        return facts

    @_surviving
    def frame(self, pack: int, number: int) -> FrameRow:
        """Raises KeyError when it is gone."""
        row: FrameRow | None = self._db.execute(
            "SELECT offset, stored, raw, compressed FROM frame WHERE pack = ? AND number = ?", (pack, number)
        ).fetchone()
        if row is None:
            raise KeyError((pack, number))
        return row

    @_surviving
    def contents(self, pack: str) -> list[tuple[BlobId, int, int, int]]:
        """Of a pack by name: id, kind, length and stored bytes (its share of the frame's) of each blob."""
        rows = self._db.execute(
            "SELECT blob.id, kind, length, length * stored / max(frame.raw, 1) FROM pack "
            "JOIN blob ON blob.pack = pack.number "
            "JOIN frame ON frame.pack = pack.number AND frame.number = blob.frame WHERE pack.name = ?",
            (pack,),
        )
        return rows.fetchall()

    def all_contents(self) -> Iterator[tuple[int, BlobId, int, int, int]]:
        """Of every pack, in one pass: its number, then as `contents`. In no order of packs. Raises sqlite3.Error."""
        yield from self._db.execute(
            "SELECT blob.pack, blob.id, kind, length, length * stored / max(frame.raw, 1) FROM blob "
            "JOIN frame ON frame.pack = blob.pack AND frame.number = blob.frame"
        )

    @_surviving
    def holds(self, blob: BlobId) -> bool:
        """In any pack."""
        return self._db.execute("SELECT 1 FROM blob WHERE id = ? LIMIT 1", (blob,)).fetchone() is not None

    @_surviving
    def kept(self, blob: BlobId) -> bool:
        """In a pack that is not condemned."""
        rows = self._db.execute("SELECT pack FROM blob WHERE id = ?", (blob,))
        condemned = self._condemned
        return any(number not in condemned for (number,) in rows)

    @_surviving
    def all_kept(self, blobs: list[BlobId]) -> set[BlobId]:
        """Those of them that are in packs that are not condemned."""
        found: set[BlobId] = set()
        for at in range(0, len(blobs), _ASKED_AT_ONCE):
            some = blobs[at : at + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(f"SELECT id, pack FROM blob WHERE id IN ({marks})", some)
            found.update(blob for blob, pack in rows if pack not in self._condemned)
        return found

    @_surviving
    def places(self, blob: BlobId) -> list[Place]:
        """All of them, newest pack first."""
        rows = self._db.execute("SELECT pack, frame, inner, length FROM blob WHERE id = ? ORDER BY pack DESC", (blob,))
        return [Place(*row) for row in rows]

    @_surviving
    def find(self, blobs: list[BlobId]) -> dict[BlobId, tuple[int, int, int, int]]:
        """(pack, frame, inner, length) of those that are known."""
        found: dict[BlobId, tuple[int, int, int, int]] = {}
        for at in range(0, len(blobs), _ASKED_AT_ONCE):
            some = blobs[at : at + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(some))
            for blob, *place in self._db.execute(
                f"SELECT id, pack, frame, inner, length FROM blob WHERE id IN ({marks})", some
            ):
                found[blob] = (place[0], place[1], place[2], place[3])
        return found

    @_surviving
    def empty(self) -> bool:
        return self._db.execute("SELECT 1 FROM pack LIMIT 1").fetchone() is None


def discard(directory: Path) -> None:
    """Throw the index away; the next one is made from the packs."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            (directory / (FILE_NAME + suffix)).unlink()


def _in_memory() -> sqlite3.Connection:
    db = _opened(":memory:")
    db.executescript(_TABLES)
    return db


def _opened(where: str) -> sqlite3.Connection:
    db = sqlite3.connect(where, isolation_level=None, check_same_thread=False, cached_statements=32)
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    return db


def _prepared(path: Path) -> sqlite3.Connection:
    """WAL with checksums and synchronous=NORMAL: a power cut takes the newest transactions, never half of one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    db = _opened(str(path))
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        layout = db.execute("PRAGMA user_version").fetchone()[0]
        if layout == _LAYOUT:
            return db
        if layout != 0:
            raise sqlite3.DatabaseError("another layout")
        db.execute("BEGIN IMMEDIATE")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _TABLES.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_LAYOUT}")
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db
