"""The directories and files an agent gets: its TMPDIR, a home where its user has none, the FIFO and the lock.

HOME/agents/NAME belongs to Holdfast and holds tmp/ and home/, which belong to the agent. Nothing inside these two is
ever opened by us: tmp/ is renamed away whole and deleted in the trash. A FIFO in use is never replaced, for its writers
hold it open. Called by pods.pod.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import termios
from pathlib import Path
from typing import NamedTuple

from holdfast.home import Home
from holdfast.node.users import Identity
from holdfast.pods import trash

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class Places(NamedTuple):
    tmp: Path
    home_dir: str
    fifo: Path
    lock: Path
    kept_tmp: bool  # a fresh TMPDIR was wanted, but the disk had no room: the old one is kept


def prepare(home: Home, agent: str, identity: Identity, fresh_tmp: bool) -> Places:
    """Make whatever is missing, idempotent. `fresh_tmp`: an empty TMPDIR, the old one goes to the trash.

    Raises OSError.
    """
    own = home.agent(agent)
    _directory(own, 0o711 if os.geteuid() == 0 else 0o700)
    kept = False
    if fresh_tmp or not _is_theirs(own / "tmp", identity):
        try:
            _renew(own, "tmp", identity)
        except OSError as error:
            if error.errno not in _NO_ROOM or not _is_theirs(own / "tmp", identity):
                raise
            kept = True
    home_dir = identity.home
    if home_dir in ("", "/") or not os.path.isdir(home_dir):
        if not _is_theirs(own / "home", identity):
            _renew(own, "home", identity, keep_as="home.before")
        home_dir = str(own / "home")
    _directory(home.agent_logs(agent), 0o700)
    _fifo(home.agent_fifo(agent), identity)
    lock = home.agent_lock(agent)
    os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    return Places(own / "tmp", home_dir, home.agent_fifo(agent), lock, kept)


def remove(home: Home, agent: str) -> int:
    """Take the places of an agent away; returns how many things resisted. Raises OSError.

    Its logs stay, and so does its home/ unless empty: what an agent keeps there is its state.
    """
    own = home.agent(agent)
    if own.is_dir():
        trash.throw(own, "tmp")
    left = trash.empty(own)
    for directory in (own / "home", own):
        with contextlib.suppress(OSError):
            directory.rmdir()
    if not _holds_unread(home.agent_fifo(agent)):
        home.agent_fifo(agent).unlink(missing_ok=True)
    home.agent_lock(agent).unlink(missing_ok=True)
    return left


def _holds_unread(fifo: Path) -> bool:
    """Whether the logger still has to read what the agent said last; then the name stays for the next logger."""
    try:
        fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode) and _waiting(fd) > 0
    finally:
        os.close(fd)


def _waiting(fd: int) -> int:
    """Bytes in a pipe."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def _directory(path: Path, mode: int) -> None:
    """A directory of ours; its parents are ours too, so nobody else can have put something there."""
    path.mkdir(parents=True, exist_ok=True)
    if stat.S_IMODE(os.lstat(path).st_mode) != mode:
        os.chmod(path, mode)


def _is_theirs(path: Path, identity: Identity) -> bool:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == identity.uid


def _renew(own: Path, name: str, identity: Identity, keep_as: str | None = None) -> None:
    """A new directory of the agent's in the place of the old one; made aside first, so a full disk changes nothing.

    The old one goes to the trash, or stays beside as `keep_as` when that is free.
    """
    new = own / f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(new)
    os.mkdir(new, 0o700)
    fd = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.geteuid() == 0:
            os.fchown(fd, identity.uid, identity.gid)
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)
    if keep_as is not None and os.path.lexists(own / name) and not os.path.lexists(own / keep_as):
        os.rename(own / name, own / keep_as)
    trash.throw(own, name)
    os.rename(new, own / name)


def _fifo(path: Path, identity: Identity) -> None:
    """The agent owns it, so that it can open /dev/stdout again; only we can reach it by its path."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        status = None
    if status is None or not stat.S_ISFIFO(status.st_mode):
        new = path.with_name(".fifo.new")
        new.unlink(missing_ok=True)
        os.mkfifo(new, 0o600)
        if status is not None:
            os.replace(path, path.with_name("fifo.stray"))
        os.rename(new, path)
        status = os.lstat(path)
    if os.geteuid() == 0 and status.st_uid != identity.uid:
        os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
