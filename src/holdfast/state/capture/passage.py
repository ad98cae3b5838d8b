"""One passage over all state paths: every directory looked at, the changed ones made anew (directory.py).

Invariant: everything is opened below a directory already open, and what was swapped meanwhile is left out or read as
what it is now. Runs as the agent and is itself only towards the repository. Called by capture.py.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from msgspec.structs import replace

from holdfast import limits
from holdfast.state import opening
from holdfast.state.capture.directory import SWAPPED, Below, CannotCapture, Directory, directory_entry
from holdfast.state.capture.exclude import Exclusion
from holdfast.state.capture.intake import Intake
from holdfast.state.capture.statcache import Cache, Notes
from holdfast.state.model import Content, Entry, Kind, Rights, Root
from holdfast.state.opening import Replaced
from holdfast.state.store.repository import Repository

_LINKED_MIN_BYTES = 1024 * 1024  # a shared file of this size is read once, not once for each of its names
_LINKED_MAX = 1_024
_ODD = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_NO_CONTENT = frozenset(_ODD.values())


__all__ = ["CannotCapture", "Passage"]


class Passage:
    """Run it with `all`, once; then the other attributes tell what was found."""

    def __init__(
        self,
        repository: Repository,
        intake: Intake,
        cache: Cache,
        exclusion: Exclusion,
        rights: Rights | None,
        never: frozenset[tuple[int, int]],
    ) -> None:
        self.repository = repository
        self.intake = intake
        self.cache = cache
        self.exclusion = exclusion
        self.never = never
        self._rights = rights
        self.since_ns = time.time_ns()
        self.mapped: frozenset[int] = frozenset()  # inodes of files whose times do not tell when they change
        self._linked: dict[tuple[int, ...], Entry] = {}
        self.roots: tuple[Root, ...] = ()
        self.files = 0
        self.bytes = 0
        self.fuzzy: list[str] = []
        self.left_out: list[str] = []
        self.unkept: list[str] = []  # of those the ones with content: a copy of the state is not whole without them

    def all(self, paths: tuple[str, ...]) -> None:
        """Raises CannotCapture, StoreError, HoldfastError."""
        before = self.cache.summary.roots if self.cache.summary is not None else (None,) * len(paths)
        self.roots = tuple(
            Root(path=path, entry=self._root(number, path, entry))
            for number, (path, entry) in enumerate(zip(paths, before, strict=True))
        )

    # --- state paths -----------------------------------------------------------------------------------------

    def _root(self, number: int, path: str, before: Entry | None) -> Entry | None:
        try:
            parent, name = opening.open_parent(path, self._rights)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise CannotCapture(f"state path {path} cannot be reached: {e.strerror}") from e
        try:
            seen = os.lstat(name, dir_fd=parent)
            if stat.S_ISLNK(seen.st_mode):
                target = os.fsdecode(os.readlink(name, dir_fd=parent))
                raise CannotCapture(f"state path {path} is a symlink to {target}: declare the path it leads to")
            if stat.S_ISDIR(seen.st_mode):
                return self._root_directory(number, path, parent, name, before)
            if stat.S_ISREG(seen.st_mode):
                return Directory(self, number, path, (), parent).alone(name, before)
            raise CannotCapture(f"state path {path} is {_odd(seen.st_mode)}: only directories and files are kept")
        except FileNotFoundError:
            return None
        except OSError as e:
            raise CannotCapture(f"state path {path} cannot be read: {e.strerror}") from e
        finally:
            os.close(parent)

    def _root_directory(self, number: int, path: str, parent: int, name: bytes, before: Entry | None) -> Entry:
        fd = opening.open_directory(parent, name)
        try:
            seen = os.fstat(fd)
            if (seen.st_dev, seen.st_ino) in self.never:
                raise CannotCapture(f"state path {path} holds Holdfast's own files")
            found = Directory(self, number, path, (), fd).take()
            below = Below(*found, seen, opening.user_xattrs(fd))
        finally:
            os.close(fd)
        return directory_entry(name, below, before)

    # --- what is told ----------------------------------------------------------------------------------------

    def account(self, path: str, notes: Notes) -> None:
        """Add one directory's share."""
        self.files += notes.files
        self.bytes += notes.size
        for name in notes.fuzzy[: limits.SNAPSHOT_LISTED_MAX - len(self.fuzzy)]:
            self.fuzzy.append(_shown(path, name))
        for name, why in notes.left_out[: limits.SNAPSHOT_LISTED_MAX - len(self.left_out)]:
            self.left_out.append(f"{_shown(path, name)}: {why}")
        unkept = [(name, why) for name, why in notes.left_out if why not in _NO_CONTENT]
        for name, why in unkept[: limits.SNAPSHOT_LISTED_MAX - len(self.unkept)]:
            self.unkept.append(f"{_shown(path, name)}: {why}")

    # --- files -----------------------------------------------------------------------------------------------

    def fresh(
        self, directory: int, name: bytes, before: Entry | None, trace: bytes
    ) -> tuple[Entry, bytes | None] | str:
        """The entry of what is no directory, with its content where the caller stores that; or why it is left out.

        Raises FileNotFoundError where nothing is there any more.
        """
        why = SWAPPED
        for _ in range(limits.SNAPSHOT_FILE_TRIES):
            try:
                seen = os.lstat(name, dir_fd=directory)
                if stat.S_ISREG(seen.st_mode):
                    return self._file(directory, name, seen, before, trace)
                if stat.S_ISLNK(seen.st_mode):
                    return _link(name, seen, os.readlink(name, dir_fd=directory)), None
                if not stat.S_ISDIR(seen.st_mode):
                    return _odd(seen.st_mode)
            except FileNotFoundError:
                raise
            except Replaced:
                continue
            except OSError as e:
                if e.errno == errno.EINVAL:  # no symlink any more
                    continue
                why = f"it cannot be read: {e.strerror}"
        return why

    def _file(
        self, directory: int, name: bytes, seen: os.stat_result, before: Entry | None, trace: bytes
    ) -> tuple[Entry, bytes | None]:
        shared = seen.st_nlink > 1 and seen.st_size >= _LINKED_MIN_BYTES
        key = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        if shared and (known := self._linked.get(key)) is not None:
            return replace(known, name=name), None
        entry, content = self.intake.file(directory, name, before, trace)
        if shared and not entry.fuzzy and entry.content is not Content.DATABASE and len(self._linked) < _LINKED_MAX:
            self._linked[key] = entry
        return entry, content


def _link(name: bytes, seen: os.stat_result, target: bytes) -> Entry:
    return Entry(
        name=name,
        kind=Kind.LINK,
        mode=stat.S_IMODE(seen.st_mode),
        uid=seen.st_uid,
        gid=seen.st_gid,
        mtime_ns=seen.st_mtime_ns,
        size=0,
        target=target,
        links=(seen.st_dev, seen.st_ino) if seen.st_nlink > 1 else None,
    )


def _odd(mode: int) -> str:
    return _ODD.get(stat.S_IFMT(mode), "of an unknown kind")


def _shown(path: str, name: bytes) -> str:
    return f"{path}/{name.decode('utf-8', 'backslashreplace')}"
