"""A directory that cannot change places as a whole (a mount point, an overlay, a parent the agent may not write): what
is in it moves instead, entry by entry.

Invariant: first all old entries go out, then, after that was made durable, the new ones come in; so what lies in the
directory is told by the place's `step` alone, no list of names is kept, and each step can be repeated or reversed after
a kill. Nothing is ever moved over something. Called by swap.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator

from holdfast.state.identity import acting_as
from holdfast.state.restore import asides, places
from holdfast.state.restore.intent import Place, Step
from holdfast.state.restore.places import Ground

_STUCK = {errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.ENOTEMPTY, errno.EEXIST}


class _Trees:
    """The live directory, and where its fresh and its old entries are."""

    def __init__(self, place: Place, parent: int, ground: Ground) -> None:
        name = os.path.basename(place.path)
        self.live = places.reach(parent, name)
        places.writable(self.live)
        self.beside = self.live if place.inside else parent
        self.fresh = asides.fresh(name, ground.short)
        self.before = asides.before(name, ground.short)

    def open(self, name: str, *, make: bool = False) -> int:
        """-1: there is none."""
        if places.there(self.beside, name) is None:
            if not make:
                return -1
            os.mkdir(name, 0o700, dir_fd=self.beside)
        fd = places.reach(self.beside, name)
        places.writable(fd)
        return fd

    def remove(self, name: str) -> None:
        """Only when it is empty: what could not leave it is kept, and is deleted or shown with the rest."""
        try:
            os.rmdir(name, dir_fd=self.beside)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise


def forward(place: Place, parent: int, ground: Ground) -> None:
    """Old entries out, new ones in. Raises OSError, and then `back` undoes it."""
    with acting_as(ground.rights):
        _note_old(place, parent)
        trees = _Trees(place, parent, ground)
        try:
            before = trees.open(trees.before, make=True)
        except BaseException:
            os.close(trees.live)
            raise
    try:
        if place.step is Step.NONE:
            with acting_as(ground.rights):
                _copy_xattrs(trees.live, before)
            _enter(place, Step.OUT, ground, trees.beside, before)
        if place.step is Step.OUT:
            with acting_as(ground.rights):
                _Mover(place, ground).all(trees.live, before)
            _enter(place, Step.IN, ground, trees.live, before)
        if place.step is Step.IN:
            _bring_in(place, trees, ground)
            _enter(place, Step.DONE, ground, trees.live, trees.beside)
    finally:
        os.close(before)
        os.close(trees.live)


def back(place: Place, parent: int, ground: Ground) -> None:
    """New entries to the fresh tree, old ones in again. Raises OSError."""
    with acting_as(ground.rights):
        if place.step is Step.NONE and places.there(parent, os.path.basename(place.path)) is None:
            return
        trees = _Trees(place, parent, ground)
    try:
        if place.step in (Step.IN, Step.DONE):
            with acting_as(ground.rights), _closing(trees.open(trees.fresh, make=True)) as fresh:
                _Mover(place, ground).all(trees.live, fresh)
                places.sync(fresh)
            _enter(place, Step.OUT, ground, trees.live, trees.beside)
        if place.step is Step.OUT:
            with acting_as(ground.rights):
                _bring_back(place, trees, ground)
            _enter(place, Step.NONE, ground, trees.live, trees.beside)
        with acting_as(ground.rights):
            trees.remove(trees.before)
            if place.old_mtime_ns:
                _dress(trees.live, place.old_mode, place.old_mtime_ns)
    finally:
        os.close(trees.live)


def _note_old(place: Place, parent: int) -> None:
    """The directory's own mode and time, before anything of ours changes them."""
    if place.step is Step.NONE and not place.old_mtime_ns:
        status = os.stat(os.path.basename(place.path), dir_fd=parent, follow_symlinks=False)
        place.old_mode, place.old_mtime_ns = stat.S_IMODE(status.st_mode), status.st_mtime_ns


def _enter(place: Place, step: Step, ground: Ground, *changed: int) -> None:
    for fd in changed:
        places.sync(fd)
    place.step = step
    ground.save()
    ground.at(f"step {step}")


def _bring_in(place: Place, trees: _Trees, ground: Ground) -> None:
    with acting_as(ground.rights):
        fresh = trees.open(trees.fresh)
        if fresh >= 0:
            with _closing(fresh):
                _Mover(place, ground).all(fresh, trees.live)
                _copy_xattrs(fresh, trees.live)
            trees.remove(trees.fresh)
        ground.at("all in")
        if place.present:
            _dress(trees.live, place.fresh_mode, place.fresh_mtime_ns)


def _bring_back(place: Place, trees: _Trees, ground: Ground) -> None:
    before = trees.open(trees.before)
    if before < 0:
        return
    with _closing(before), _closing(trees.open(trees.fresh, make=True)) as fresh:
        _Mover(place, ground, spare=fresh).all(before, trees.live)
        _copy_xattrs(before, trees.live)


class _Mover:
    """Moves what is in one directory into another; where something cannot move, what is in it does."""

    def __init__(self, place: Place, ground: Ground, spare: int = -1) -> None:
        self._mounts = set(place.mounts)
        self._above = {mount[:at] for mount in place.mounts for at in range(len(mount)) if mount[at] == "/"}
        self._at: Callable[[str], None] = ground.at
        self._uid = ground.rights.uid if ground.rights is not None else os.geteuid()
        self._spare = spare

    def all(self, source: int, target: int, path: str = "") -> None:
        for name in os.listdir(source):
            if not path and asides.is_aside(os.fsencode(name)):
                continue
            below = f"{path}/{name}" if path else name
            if below in self._mounts:
                with contextlib.suppress(OSError):  # a fresh tree's empty directory of that name; nothing mounted goes
                    os.rmdir(name, dir_fd=source)
                continue
            if below in self._above:
                self._merge(source, target, name, below)
            else:
                self._one(source, target, name, below)
            self._at("entry")
        places.sync(target)
        places.sync(source)

    def _one(self, source: int, target: int, name: str, path: str) -> None:
        try:
            places.move(source, name, target, name)
            return
        except OSError as e:
            if e.errno not in _STUCK:
                raise
            reason = e.errno
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        other = places.there(target, name)
        if stat.S_ISDIR(status.st_mode) and (other is None or stat.S_ISDIR(other.st_mode)):
            if other is None and reason == errno.EACCES and self._move_forbidden(source, target, name, status):
                return
            if status.st_uid == self._uid or reason not in (errno.EACCES, errno.EPERM):
                self._merge(source, target, name, path)
        elif other is not None:
            self._make_way(source, target, name)
        # Else it is another owner's, or mounted: the agent could not have changed it either, and it stays.

    def _make_way(self, source: int, target: int, name: str) -> None:
        """Something new has taken an old entry's name while the agent should have stood still."""
        if self._spare < 0:
            raise FileExistsError(errno.EEXIST, "something was put in the way", name)
        places.move(target, name, self._spare, f"{name}.{os.urandom(4).hex()}")
        places.move(source, name, target, name)

    def _move_forbidden(self, source: int, target: int, name: str, status: os.stat_result) -> bool:
        """A directory that its owner may not write cannot move, since its `..` changes: allowed for the moment."""
        if status.st_uid != self._uid or status.st_mode & stat.S_IWUSR:
            return False
        child = places.reach(source, name)
        with _closing(child):
            os.fchmod(child, stat.S_IMODE(status.st_mode) | 0o700)
            try:
                places.move(source, name, target, name)
                return True
            except OSError:
                return False
            finally:
                os.fchmod(child, stat.S_IMODE(status.st_mode))

    def _merge(self, source: int, target: int, name: str, path: str) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if places.there(target, name) is None:
            os.mkdir(name, 0o700, dir_fd=target)
        with _closing(places.reach(source, name)) as out, _closing(places.reach(target, name)) as into:
            places.writable(out)
            places.writable(into)
            self.all(out, into, path)
            _copy_xattrs(out, into)
            _dress(into, stat.S_IMODE(status.st_mode), status.st_mtime_ns)
        with contextlib.suppress(OSError):  # a mount point, or the way to one
            os.rmdir(name, dir_fd=source)


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _dress(fd: int, mode: int, mtime_ns: int) -> None:
    with contextlib.suppress(PermissionError):  # another owner's, such as a volume's root
        os.fchmod(fd, mode)
        os.utime(fd, ns=(mtime_ns, mtime_ns))


def _copy_xattrs(source: int, target: int) -> None:
    """Those of users. Where there are none to be had, there is nothing to copy."""
    with contextlib.suppress(OSError):
        wanted = {name: os.getxattr(source, name) for name in os.listxattr(source) if name.startswith("user.")}
        for name in os.listxattr(target):
            if name.startswith("user.") and name not in wanted:
                os.removexattr(target, name)
        for name, value in wanted.items():
            os.setxattr(target, name, value)
