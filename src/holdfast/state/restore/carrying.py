"""What snapshots leave out (caches, logs, models) is not lost by a restore: it moves from the old tree to the new one.

Invariant: between the exchange and the start, each entry that `state.exclude` leaves out, exists in the old tree and
not in the new one, is renamed over, with the agent's rights; nothing is ever moved over something, so it can be done
again after a kill, and the other way round before an exchange back. What cannot be renamed stays in the old tree, and
is said. Called by the worker's restore jobs, while the agent stands still.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from holdfast import limits
from holdfast.state.capture.exclude import BadPattern, Exclusion
from holdfast.state.identity import acting_as
from holdfast.state.restore import asides, intent, places
from holdfast.state.restore.intent import Intent, Phase, Place

_DEEP = 200  # directories below each other; nobody keeps a cache deeper down


def over(state_dir: Path) -> list[str]:
    """From the old trees into the new ones, once. Notes on what stays behind. Raises OSError."""
    current = intent.load(state_dir)
    if current is None or current.phase is not Phase.EXCHANGED or current.carried:
        return []
    notes = _all(current, back=False)
    current.carried = True
    current.left_behind = bool(notes)
    current.notes = [*current.notes, *notes][: limits.RESTORE_NOTES_MAX]
    intent.save(state_dir, current)
    return notes


def back(state_dir: Path) -> list[str]:
    """From the new trees into the old ones, before these return. Raises OSError."""
    current = intent.load(state_dir)
    if current is None or current.phase is not Phase.EXCHANGED:
        return []
    current.carried = False  # whoever finds the restore half-way moves all over again
    intent.save(state_dir, current)
    return _all(current, back=True)


def _all(current: Intent, *, back: bool) -> list[str]:
    notes: list[str] = []
    exclusions = []
    for patterns in current.left_out:
        with contextlib.suppress(BadPattern):
            exclusions.append(Exclusion(patterns))
    if any(exclusions):
        for place in current.places:
            if place.directory and place.existed:
                try:
                    _Carrier(current, place, exclusions, notes, back=back).carry()
                except OSError as e:
                    notes.append(f"{place.path}: not all that is in no snapshot could be moved over: {e.strerror}")
    return notes


class _Carrier:
    """One place. `below` is the path of a directory seen from its state path, as patterns see it."""

    def __init__(
        self, current: Intent, place: Place, exclusions: list[Exclusion], notes: list[str], *, back: bool
    ) -> None:
        self._current = current
        self._place = place
        self._exclusions = exclusions
        self._notes = notes
        self._back = back

    def carry(self) -> None:
        place, rights = self._place, self._current.rights
        name = os.path.basename(place.path)
        before = asides.before(name, self._current.short)
        beside = f"{place.path}/{name}" if place.inside else place.path
        with places.opened(place.path, rights) as parent, places.opened(beside, rights) as aside, acting_as(rights):
            old, new = _opened(aside, before), _opened(parent, name)
            try:
                if old < 0 or new < 0:
                    return
                source, target = (new, old) if self._back else (old, new)
                self._directory(source, _Way(target), _start(self._current.state_paths, place.path), 0)
            finally:
                for fd in (old, new):
                    if fd >= 0:
                        os.close(fd)

    def _directory(self, source: int, way: _Way, below: bytes, depth: int) -> None:
        moved = False
        for name in os.listdir(source):
            raw = os.fsencode(name)
            status = places.there(source, name)
            if status is None or asides.is_aside(raw):
                continue
            path = b"/".join(part for part in (below, raw) if part)
            is_directory = stat.S_ISDIR(status.st_mode)
            if any(each.leaves_out(path, directory=is_directory) for each in self._exclusions):
                moved |= self._one(source, way, name, path)
            elif is_directory and depth < _DEEP:
                with contextlib.suppress(PermissionError):  # what the agent cannot read itself no walk has left out
                    child = os.open(name, places.DIRECTORY, dir_fd=source)
                    below_it = _Way(-1, way, name, status, make=not self._back)
                    try:
                        self._directory(child, below_it, path, depth + 1)
                    finally:
                        below_it.close()
                        os.close(child)
        if moved:
            places.sync(source)

    def _one(self, source: int, way: _Way, name: str, path: bytes) -> bool:
        target = way.open()
        if target < 0 or places.there(target, name) is not None:
            return False
        kept = os.fstat(target)
        try:
            _rename(source, target, name)
        except OSError as e:
            where = os.path.join(self._place.path, os.fsdecode(path))
            self._notes.append(f"{where} is in no snapshot and could not be moved over: {e.strerror}")
            return False
        places.sync(target)
        with contextlib.suppress(OSError):
            os.utime(target, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        return True


class _Way:
    """A directory of the tree that things are moved into: opened when the first one is, made where it is missing."""

    def __init__(
        self,
        fd: int,
        above: _Way | None = None,
        name: str = "",
        status: os.stat_result | None = None,
        *,
        make: bool = True,
    ) -> None:
        self._fd = fd
        self._above = above
        self._name = name
        self._status = status
        self._make = make

    def open(self) -> int:
        """-1: there is something else, or nothing and it is not to be made."""
        if self._fd >= 0 or self._above is None or self._status is None:
            return self._fd
        parent = self._above.open()
        if parent < 0:
            return -1
        if self._make and places.there(parent, self._name) is None:
            os.mkdir(self._name, 0o700, dir_fd=parent)
            self._fd = os.open(self._name, places.DIRECTORY, dir_fd=parent)
            os.fchmod(self._fd, stat.S_IMODE(self._status.st_mode) | 0o700)
            return self._fd
        with contextlib.suppress(OSError):
            self._fd = os.open(self._name, places.DIRECTORY, dir_fd=parent)
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _opened(fd: int, name: str) -> int:
    """-1: there is no directory of that name."""
    try:
        return os.open(name, places.DIRECTORY, dir_fd=fd)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except OSError as e:
        if e.errno == errno.ELOOP:
            return -1
        raise


def _start(state_paths: list[str], path: str) -> bytes:
    """Where the place lies below its state path."""
    for top in sorted(state_paths, key=len):
        if path.startswith(top.rstrip("/") + "/"):
            return os.fsencode(path[len(top.rstrip("/")) + 1 :])
    return b""


def _rename(source: int, target: int, name: str) -> None:
    """A directory that its owner may not write cannot move, since its `..` changes: allowed for the moment."""
    try:
        places.move(source, name, target, name)
        return
    except OSError as e:
        if e.errno not in (errno.EACCES, errno.EPERM):
            raise
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    changed = [fd for fd in (source, target) if stat.S_IMODE(os.fstat(fd).st_mode) & 0o300 != 0o300]
    modes = [(fd, stat.S_IMODE(os.fstat(fd).st_mode)) for fd in changed]
    child = places.reach(source, name) if stat.S_ISDIR(status.st_mode) else -1
    try:
        for fd, mode in modes:
            os.fchmod(fd, mode | 0o300)
        if child >= 0:
            os.fchmod(child, stat.S_IMODE(status.st_mode) | 0o700)
        places.move(source, name, target, name)
    finally:
        for fd, mode in modes:
            os.fchmod(fd, mode)
        if child >= 0:
            with contextlib.suppress(OSError):
                os.fchmod(child, stat.S_IMODE(status.st_mode))
            os.close(child)
