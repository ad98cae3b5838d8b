"""A process that writes a database all the time, so that any copy can be judged by its content alone.

What holds after each committed transaction: the sums of `pair.value` are zero, `left_log` and `right_log` have the same
rows, and `clock.n` is the number of the transaction. The number begun and the number committed stand in shared memory.
"""

from __future__ import annotations

import mmap
import os
import random
import sqlite3
import struct
import time
from contextlib import suppress
from dataclasses import dataclass

from holdfast.state.model import Rights

ROWS = 200
_NUMBERS = struct.Struct("=QQ")


@dataclass(frozen=True)
class Ground:
    """How one database is kept."""

    journal: str  # wal, delete, truncate, persist
    page_size: int
    locking: str = "normal"
    payload_bytes: int = 400
    other_user: bool = False
    calm: bool = False  # writes now and then, and checkpoints seldom


class Progress:
    """Numbers shared with the writer."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NUMBERS.size)

    def begun(self, number: int) -> None:
        self._memory[0:8] = number.to_bytes(8, "little")

    def committed(self, number: int) -> None:
        self._memory[8:16] = number.to_bytes(8, "little")

    def read(self) -> tuple[int, int]:
        """Begun, committed."""
        begun, committed = _NUMBERS.unpack(self._memory[:])
        return begun, committed


def start(path: str, ground: Ground, progress: Progress, seed: int, rights: Rights | None) -> int:
    """The writer's pid. It ends by being killed."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if rights is not None:
            os.setgroups(rights.groups)
            os.setresgid(rights.gid, rights.gid, rights.gid)
            os.setresuid(rights.uid, rights.uid, rights.uid)
        _write(path, ground, progress, random.Random(seed))
    except BaseException as e:
        os.write(2, f"writer: {type(e).__name__}: {e}\n".encode())
    finally:
        os._exit(1)
    return 0


def _open(path: str, ground: Ground) -> sqlite3.Connection:
    link = sqlite3.connect(path, isolation_level=None, timeout=20)
    link.execute(f"PRAGMA page_size={ground.page_size}")
    link.execute(f"PRAGMA locking_mode={ground.locking}")
    link.execute(f"PRAGMA journal_mode={ground.journal}")
    link.execute("PRAGMA synchronous=OFF")
    link.execute(f"PRAGMA wal_autocheckpoint={5000 if ground.calm else 100}")
    link.execute("PRAGMA cache_size=20")  # so that big transactions spill into the file before they are committed
    return link


def _write(path: str, ground: Ground, progress: Progress, chance: random.Random) -> None:
    link = _open(path, ground)
    number = _prepare(link, ground)
    progress.begun(number)
    progress.committed(number)
    while True:
        number += 1
        progress.begun(number)
        with suppress(sqlite3.OperationalError):  # busy: rolled back, and tried again as the next one
            _transact(link, ground, chance, number)
            progress.committed(number)
        if link.in_transaction:
            link.execute("ROLLBACK")
        if ground.calm:
            time.sleep(0.002)
        if chance.random() < (0.005 if ground.calm else 0.04):
            link = _unusual(link, path, ground, chance)


def _prepare(link: sqlite3.Connection, ground: Ground) -> int:
    link.execute("BEGIN IMMEDIATE")
    link.execute("CREATE TABLE IF NOT EXISTS pair(id INTEGER PRIMARY KEY, value INTEGER, filler BLOB)")
    link.execute("CREATE TABLE IF NOT EXISTS left_log(n INTEGER PRIMARY KEY, filler BLOB)")
    link.execute("CREATE TABLE IF NOT EXISTS right_log(n INTEGER PRIMARY KEY, filler BLOB)")
    link.execute("CREATE TABLE IF NOT EXISTS clock(n INTEGER)")
    link.execute("CREATE INDEX IF NOT EXISTS by_value ON pair(value, id)")
    found = link.execute("SELECT n FROM clock").fetchone()
    if found is None:
        link.execute("INSERT INTO clock VALUES(0)")
        rows = ((row, 0, os.urandom(ground.payload_bytes)) for row in range(ROWS))
        link.executemany("INSERT INTO pair VALUES(?,?,?)", rows)
    link.execute("COMMIT")
    return int(found[0]) if found else 0


def _transact(link: sqlite3.Connection, ground: Ground, chance: random.Random, number: int) -> None:
    link.execute("BEGIN IMMEDIATE")
    for _ in range(60 if chance.random() < 0.05 else 1):
        one, two, amount = chance.randrange(ROWS), chance.randrange(ROWS), chance.randrange(1, 1000)
        filler = os.urandom(chance.randrange(ground.payload_bytes))
        link.execute("UPDATE pair SET value=value-?, filler=? WHERE id=?", (amount, filler, one))
        link.execute("UPDATE pair SET value=value+?, filler=? WHERE id=?", (amount, filler, two))
    for table in ("left_log", "right_log"):
        link.execute(f"INSERT INTO {table} VALUES(?,?)", (number, os.urandom(chance.randrange(ground.payload_bytes))))
        link.execute(f"DELETE FROM {table} WHERE n < ?", (number - 300,))
    link.execute("UPDATE clock SET n=?", (number,))
    link.execute("ROLLBACK" if chance.random() < 0.03 else "COMMIT")


def _unusual(link: sqlite3.Connection, path: str, ground: Ground, chance: random.Random) -> sqlite3.Connection:
    what = chance.choice(("passive", "full", "restart", "truncate", "vacuum", "reopen"))
    if what == "reopen" and ground.locking == "exclusive":
        return link  # it would let go of the database
    with suppress(sqlite3.OperationalError):  # busy, because we hold it
        if what == "vacuum":
            link.execute("VACUUM")
        elif what == "reopen":
            link.close()
            return _open(path, ground)
        elif ground.journal == "wal":
            link.execute("PRAGMA busy_timeout=50")
            link.execute(f"PRAGMA wal_checkpoint({what})")
            link.execute("PRAGMA busy_timeout=20000")
    return link
