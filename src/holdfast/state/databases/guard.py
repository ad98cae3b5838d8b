"""A small helper process that keeps a database at one moment while we copy it: it holds what any reader holds.

It runs as the agent's user, so that no file of root's appears beside the database and nothing is opened that the agent
could not open. It is a process of its own because closing any descriptor of a file drops all locks that the process
holds on it: we read the raw bytes, the helper alone knows of locks. Two kinds of holding:

`transaction`: a read transaction of SQLite's own (`mode=ro`). The write-ahead log cannot begin anew meanwhile and no
checkpoint passes it; writers go on. `lock`: the shared lock of a database with a rollback journal; who wants to commit
waits for us, so that it is held for a moment only.

The helper ends with us (pipe, death signal), and at the latest after GUARD_HOLD_MAX_S. Called by database.py.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from urllib.parse import quote_from_bytes

from holdfast import limits
from holdfast.state import forking
from holdfast.state.model import Rights

_PENDING_OFFSET, _SHARED_OFFSET, _SHARED_BYTES = 0x4000_0000, 0x4000_0002, 510
_FDS_LOOKED_AT = 64  # the helper has a handful
_RETRY_S = 0.002
_HELD = b"held"


class Refused(Exception):
    """The database cannot be held; str() says why. `busy`: somebody holds it for himself alone, now."""

    def __init__(self, text: str, *, busy: bool = False) -> None:
        super().__init__(text)
        self.busy = busy


class Holding(Enum):
    """What the helper holds."""

    TRANSACTION = "transaction"
    LOCK = "lock"


class Guard:
    """A helper that holds. `close` ends it; twice is as good as once. `pid`: 0 when it has ended."""

    def __init__(self, pid: int, control: int) -> None:
        self.pid, self._control = pid, control

    def holds(self) -> bool:
        """Whether it has held without a break until now."""
        if self.pid <= 0:
            return False
        if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            return True
        self.pid = 0
        os.close(self._control)
        return False

    def close(self) -> None:
        if self.pid <= 0:
            return
        pid, self.pid = self.pid, 0
        os.close(self._control)
        forking.end(pid)


@contextmanager
def hold(
    directory_fd: int, name: bytes, expected: tuple[int, int], rights: Rights | None, holding: Holding
) -> Iterator[Guard]:
    """As `start`, for a block."""
    guard = start(directory_fd, name, expected, rights, holding)
    try:
        yield guard
    finally:
        guard.close()


def start(directory_fd: int, name: bytes, expected: tuple[int, int], rights: Rights | None, holding: Holding) -> Guard:
    """A helper that holds the database `name` in that directory, which is the file `expected` (device, inode).

    Takes a few milliseconds; at most GUARD_WAIT_S, where the database is busy. Raises Refused.
    """
    told, told_in = os.pipe2(os.O_CLOEXEC)
    control_out, control = os.pipe2(os.O_CLOEXEC)
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        _be(parent, directory_fd, name, expected, rights, holding, told_in, control_out)
    os.close(told_in)
    os.close(control_out)
    guard = Guard(pid, control)
    try:
        answer = _hear(told, time.monotonic() + limits.GUARD_WAIT_S + limits.GUARD_SLACK_S)
    except BaseException:
        guard.close()
        raise
    finally:
        os.close(told)
    if answer != _HELD:
        guard.close()
        busy, _, why = answer.decode("utf-8", "replace").partition(" ")
        raise Refused(why or "the helper gave no answer", busy=busy == "busy")
    return guard


def _hear(told: int, deadline_mono: float) -> bytes:
    """What the helper says; empty when it says nothing in time or ended."""
    poll = select.poll()
    poll.register(told, select.POLLIN)
    while (left_s := deadline_mono - time.monotonic()) > 0:
        if poll.poll(left_s * 1000):
            return os.read(told, 4096)
    return b""


# --- in the helper ---------------------------------------------------------------------------------------------------
def _be(
    parent: int,
    directory_fd: int,
    name: bytes,
    expected: tuple[int, int],
    rights: Rights | None,
    holding: Holding,
    told: int,
    control: int,
) -> None:
    """Never returns."""
    try:
        directory_fd, told, control = forking.keep_only(directory_fd, told, control)
        forking.become(rights)
        forking.plain_signals()
        signal.setitimer(signal.ITIMER_REAL, limits.GUARD_HOLD_MAX_S)
        if os.getppid() != parent:
            os._exit(1)
        os.fchdir(directory_fd)
        take = _transaction if holding is Holding.TRANSACTION else _lock
        try:
            held = take(name, expected)
        except Refused as e:
            os.write(told, f"{'busy' if e.busy else 'no'} {e}".encode("utf-8", "surrogateescape"))
            os._exit(1)
        os.write(told, _HELD)
        os.read(control, 1)  # until we are no longer needed
        del held
    except BaseException as e:  # the helper has nobody to raise to
        try:
            os.write(told, f"no {type(e).__name__}: {e}".encode("utf-8", "surrogateescape")[:1000])
        except OSError:
            pass
    finally:
        os._exit(1)


def _transaction(name: bytes, expected: tuple[int, int]) -> sqlite3.Connection:
    """Open read-only and begin. Asks for a number in the header: a schema, which may be hostile, is never read."""
    try:
        link = sqlite3.connect(
            f"file:./{quote_from_bytes(name)}?mode=ro", uri=True, isolation_level=None, timeout=limits.GUARD_WAIT_S
        )
        link.execute("BEGIN")
        link.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as e:
        code = getattr(e, "sqlite_errorcode", 0) & 0xFF
        raise Refused(str(e), busy=code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)) from e
    if not any(_is_file(fd, expected) for fd in range(3, _FDS_LOOKED_AT)):
        raise Refused("another file stands there now")
    return link


def _lock(name: bytes, expected: tuple[int, int]) -> int:
    """The shared lock as SQLite takes it, without a thought for a hot journal, which a reader may not put back."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not _is_file(file, expected):
        raise Refused("another file stands there now")
    deadline_mono = time.monotonic() + limits.GUARD_WAIT_S
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, _PENDING_OFFSET)
            try:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, _SHARED_BYTES, _SHARED_OFFSET)
                return file
            finally:
                fcntl.lockf(file, fcntl.LOCK_UN, 1, _PENDING_OFFSET)
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline_mono:
                raise Refused("database is locked", busy=True) from None
            time.sleep(_RETRY_S)


def _is_file(fd: int, expected: tuple[int, int]) -> bool:
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == expected
