"""Where a restore works: the directory that holds a live path, its neighbours by name, mounts, and removing trees.

Invariant: a place is a descriptor of its parent directory and one name, taken with the agent's rights; nothing here
follows a link at that name, and no removal leaves the file system it began on. Called by materialize.py and swap.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from holdfast.state import opening
from holdfast.state.identity import acting_as
from holdfast.state.model import Rights

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TABLE = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_NOREPLACE, _EXCHANGE = 1, 2
_DEEP = 64  # directories deeper than this are first moved up, so that a removal needs few descriptors
# There an inode's number may change, or a directory cannot be renamed.
_BY_ENTRY = frozenset({"overlay", "aufs", "unionfs", "fuse", "fuseblk"})


@dataclass(frozen=True, slots=True)
class Ground:
    """What the swap of a place stands on: whose rights, and `save`, which makes the place's present fields durable.

    `at` is told each step: tests end the process there.
    """

    short: str
    rights: Rights | None
    save: Callable[[], None]
    at: Callable[[str], None] = lambda _step: None


@contextmanager
def opened(path: str, rights: Rights | None) -> Iterator[int]:
    """The directory that holds `path`, reached with the agent's rights. Raises OSError."""
    with acting_as(rights):
        fd, _name = opening.open_parent(path, rights)
    try:
        yield fd
    finally:
        os.close(fd)


def mount_table() -> dict[str, str]:
    """Mount point -> type of file system. Empty where /proc does not tell."""
    found: dict[str, str] = {}
    try:
        text = _TABLE.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return found
    for line in text.split("\n"):  # names may hold other signs that end a line elsewhere
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) > 4:
            found[_ESCAPED.sub(lambda code: chr(int(code[1], 8)), fields[4])] = after.partition(" ")[0]
    return found


def mounts_below(path: str, table: dict[str, str]) -> tuple[str, ...]:
    """Mount points below `path`, relative to it, outer ones first."""
    start = path.rstrip("/") + "/"
    return tuple(sorted(point[len(start) :] for point in table if point.startswith(start)))


def only_by_entry(path: str, table: dict[str, str]) -> bool:
    """Whether `path` lies on a file system where whole directories cannot be relied on to change places."""
    while path not in table and path != "/":
        path = os.path.dirname(path)
    kind = table.get(path, "")
    return kind in _BY_ENTRY or kind.startswith("fuse.")


def there(fd: int, name: str) -> os.stat_result | None:
    """What has this name now, not followed; None when nothing has."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.ENAMETOOLONG):  # a database's name may leave no room for its -journal
            return None
        raise


def exchange(fd: int, one: str, other: str) -> None:
    """Both names change places at once. Raises OSError (EBUSY, EXDEV, EINVAL: not here)."""
    _rename(fd, os.fsencode(one), fd, os.fsencode(other), _EXCHANGE)


def move(from_fd: int, old: str, to_fd: int, new: str) -> None:
    """Rename, never over something. Raises OSError, FileExistsError."""
    try:
        _rename(from_fd, os.fsencode(old), to_fd, os.fsencode(new), _NOREPLACE)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        if there(to_fd, new) is not None:  # a file system without that flag
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        os.rename(old, new, src_dir_fd=from_fd, dst_dir_fd=to_fd)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _rename(from_fd: int, old: bytes, to_fd: int, new: bytes, flags: int) -> None:
    if _library().renameat2(from_fd, old, to_fd, new, ctypes.c_uint(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(old), None, os.fsdecode(new))


def sync(fd: int) -> None:
    """Names in this directory are on the disk. Without the right to open it (search only) nothing can be done."""
    try:
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(again)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(again)


def writable(fd: int) -> None:
    """A directory of the agent's in which names are about to change; what it forbade itself is allowed meanwhile."""
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & 0o700 != 0o700:
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, mode | 0o700)


def reach(fd: int, name: str) -> int:
    """Open a directory of the agent's, also one that it forbade itself to read. Raises OSError."""
    try:
        return os.open(name, DIRECTORY, dir_fd=fd)
    except PermissionError:
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        if not stat.S_ISDIR(mode):
            raise
        os.chmod(name, stat.S_IMODE(mode) | 0o700, dir_fd=fd)  # through a link swapped in: what is the agent's own
        return os.open(name, DIRECTORY, dir_fd=fd)


class Removal:
    """Takes a tree away, name by name; can stop and go on later. What cannot be removed is in `left`.

    `enough` is asked after each name. Call `tree` within `acting_as`.
    """

    def __init__(self, enough: Callable[[], bool] = lambda: False) -> None:
        self._enough = enough
        self._moved_up = 0
        self.left: list[str] = []

    def tree(self, fd: int, name: str) -> bool:
        """Remove what has this name. True: nothing more can be done; False: `enough`. Raises OSError: broken disk."""
        status = there(fd, name)
        if status is None:
            return True
        if not stat.S_ISDIR(status.st_mode):
            return self._name(fd, name, name)
        top = self._open(fd, name, name)
        if top < 0:
            return True
        try:
            while True:
                before = self._moved_up
                if not self._inside(top, top, name, status.st_dev, 0):
                    return False
                if self._moved_up == before:
                    break
        finally:
            os.close(top)
        if not self.left:
            self._directory(fd, name, name)
        return True

    def _inside(self, top: int, fd: int, path: str, device: int, depth: int) -> bool:
        with os.scandir(fd) as found:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        for name, is_directory in names:
            below = f"{path}/{name}"
            if not is_directory:
                self._name(fd, name, below)
            elif depth >= _DEEP:
                self._move_up(top, fd, name, below)
            elif not self._child(top, fd, name, below, device, depth):
                return False
            if self._enough():  # after each name, so that every round gets further
                return False
        return True

    def _move_up(self, top: int, fd: int, name: str, path: str) -> None:
        try:
            os.rename(name, f".up-{os.urandom(8).hex()}", src_dir_fd=fd, dst_dir_fd=top)
            self._moved_up += 1
        except OSError as e:
            self.left.append(f"{path}: {e.strerror}")

    def _child(self, top: int, fd: int, name: str, path: str, device: int, depth: int) -> bool:
        child = self._open(fd, name, path)
        if child < 0:
            return True
        try:
            if os.fstat(child).st_dev != device:
                self.left.append(f"{path}: something is mounted there")
                return True
            if not self._inside(top, child, path, device, depth + 1):
                return False
        finally:
            os.close(child)
        self._directory(fd, name, path)
        return True

    def _open(self, fd: int, name: str, path: str) -> int:
        """-1: it cannot be opened, which is noted."""
        try:
            child = reach(fd, name)
            writable(child)
            return child
        except OSError as e:
            self.left.append(f"{path}: {e.strerror}")
            return -1

    def _name(self, fd: int, name: str, path: str) -> bool:
        try:
            os.unlink(name, dir_fd=fd)
        except FileNotFoundError:
            pass
        except OSError as e:
            if e.errno in (errno.EIO, errno.EROFS):
                raise
            self.left.append(f"{path}: {e.strerror}")
        return True

    def _directory(self, fd: int, name: str, path: str) -> None:
        try:
            os.rmdir(name, dir_fd=fd)
        except FileNotFoundError:
            pass
        except OSError as e:
            if e.errno != errno.ENOTEMPTY or not self.left:
                self.left.append(f"{path}: {e.strerror}")
