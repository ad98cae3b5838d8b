"""One place of a restore changes from old to new, or back: each step can be repeated after a kill in its middle.

Invariant: at every moment each of the two versions is whole under one of its names (live, fresh, before), or split
over two of them in the way that the place's `step` says. Which way an exchange stands is read from the disk: the fresh
tree's inode is noted before. Called by exchange.py, which makes the intent durable around it.
"""

from __future__ import annotations

import errno
import os
import stat

from holdfast.state.databases.sqlite_header import is_database
from holdfast.state.identity import acting_as
from holdfast.state.model import Rights
from holdfast.state.restore import asides, entries, places
from holdfast.state.restore.intent import Place
from holdfast.state.restore.places import Ground

# Said by kernels and file systems that cannot exchange these two names, but may move what is in them.
_NOT_AS_ONE = {errno.EBUSY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES}


class _Names:
    """The three names of a place and the directory they are in."""

    def __init__(self, place: Place, short: str, fd: int) -> None:
        name = os.path.basename(place.path)
        self.fd = fd
        self.live = name
        self.fresh = asides.fresh(name, short)
        self.before = asides.before(name, short)


def note_ground(place: Place, ground: Ground) -> None:
    """Before the first step: was the live path there, and which inode is the fresh tree. Raises OSError."""
    with places.opened(place.path, ground.rights) as fd, acting_as(ground.rights):
        names = _Names(place, ground.short, fd)
        live = places.there(fd, names.live)
        place.existed = live is not None
        if not place.by_entry:
            if live is not None and stat.S_ISREG(live.st_mode):
                place.database = place.database or _is_database(names)
            fresh = places.there(fd, names.fresh)
            if place.present and fresh is None:
                raise FileNotFoundError(errno.ENOENT, "the new version is gone", names.fresh)
            place.fresh_inode = fresh.st_ino if fresh is not None else 0


def forward(place: Place, ground: Ground) -> None:
    """The live path becomes the snapshot's. Raises OSError, with the place somewhere between; `back` undoes it."""
    with places.opened(place.path, ground.rights) as fd:
        names = _Names(place, ground.short, fd)
        if not place.by_entry:
            try:
                _forward(place, names, ground)
                return
            except OSError as e:
                if e.errno not in _NOT_AS_ONE or not _may_go_by_entry(place, names, ground.rights):
                    raise
            place.by_entry = True
            ground.save()
        entries.forward(place, fd, ground)


def back(place: Place, ground: Ground) -> None:
    """The live path becomes what it was; the snapshot's version lies at the fresh name again. Raises OSError."""
    with places.opened(place.path, ground.rights) as fd:
        if place.by_entry:
            entries.back(place, fd, ground)
        else:
            _back(place, _Names(place, ground.short, fd), ground)


def note_back(place: Place, ground: Ground) -> None:
    """Before going back after the agent ran: it may have put another inode in its place. Raises OSError."""
    if place.by_entry:
        return
    with places.opened(place.path, ground.rights) as fd, acting_as(ground.rights):
        names = _Names(place, ground.short, fd)
        live = places.there(fd, names.live)
        if live is not None and places.there(fd, names.fresh) is None:
            place.fresh_inode = live.st_ino


def _may_go_by_entry(place: Place, names: _Names, rights: Rights | None) -> bool:
    """Whether entries could be moved instead: both are directories, and nothing has changed yet."""
    with acting_as(rights):
        found = [places.there(names.fd, name) for name in (names.live, names.fresh)]
        return all(each is not None and stat.S_ISDIR(each.st_mode) for each in found) and not _is_new(place, names)


def _is_database(names: _Names) -> bool:
    try:
        fd = os.open(names.live, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=names.fd)
    except OSError:
        return False
    try:
        return is_database(os.read(fd, 100))
    finally:
        os.close(fd)


def _is_new(place: Place, names: _Names) -> bool:
    """Whether live and fresh have changed places: the fresh name has not the fresh inode any more."""
    fresh = places.there(names.fd, names.fresh)
    return fresh is None or fresh.st_ino != place.fresh_inode


def _forward(place: Place, names: _Names, ground: Ground) -> None:
    fd = names.fd
    with acting_as(ground.rights):
        if place.present and place.existed:
            if not _is_new(place, names):
                _siblings(place, names, names.live, names.before, ground)
                _exchange(names, ground)
            if places.there(fd, names.fresh) is not None:
                places.move(fd, names.fresh, fd, names.before)
        elif place.present:
            if not _is_new(place, names):
                _siblings(place, names, names.live, names.before, ground)
                places.move(fd, names.fresh, fd, names.live)
        elif place.existed and places.there(fd, names.before) is None:
            _siblings(place, names, names.live, names.before, ground)
            places.move(fd, names.live, fd, names.before)
    ground.at("moved")
    places.sync(fd)


def _exchange(names: _Names, ground: Ground) -> None:
    """At once; a file on a file system that cannot do that by two renames, which are told apart by what is there."""
    fd = names.fd
    live = places.there(fd, names.live)
    if live is not None:
        try:
            places.exchange(fd, names.live, names.fresh)
            ground.at("exchanged")
            return
        except OSError as e:
            if e.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP) or stat.S_ISDIR(live.st_mode):
                raise
        places.move(fd, names.live, fd, names.before)
        ground.at("half exchanged")
    places.move(fd, names.fresh, fd, names.live)


def _siblings(place: Place, names: _Names, owner: str, taker: str, ground: Ground) -> None:
    """What belongs to one version of a database goes where that version goes; beside another it would destroy it."""
    if not place.database:
        return
    for end in asides.SIBLINGS:
        if places.there(names.fd, owner + end) is not None:
            os.rename(owner + end, taker + end, src_dir_fd=names.fd, dst_dir_fd=names.fd)
            ground.at(f"sibling{end}")


def _back(place: Place, names: _Names, ground: Ground) -> None:
    fd = names.fd
    with acting_as(ground.rights):
        if not place.present:
            _back_from_nothing(place, names, ground)
        elif not place.existed:
            if places.there(fd, names.fresh) is None and places.there(fd, names.live) is not None:
                _siblings(place, names, names.live, names.fresh, ground)
                places.move(fd, names.live, fd, names.fresh)
        else:
            _back_exchanged(place, names, ground)
        _siblings(place, names, names.before, names.live, ground)
    ground.at("moved back")
    places.sync(fd)


def _back_from_nothing(place: Place, names: _Names, ground: Ground) -> None:
    """The snapshot had nothing here: the old version comes back, and what was made meanwhile goes to the fresh name."""
    fd = names.fd
    if places.there(fd, names.before) is None:
        return
    if places.there(fd, names.live) is not None:
        _siblings(place, names, names.live, names.fresh, ground)
        places.move(fd, names.live, fd, names.fresh)
        ground.at("made way")
    places.move(fd, names.before, fd, names.live)


def _back_exchanged(place: Place, names: _Names, ground: Ground) -> None:
    fd = names.fd
    if places.there(fd, names.before) is not None and places.there(fd, names.live) is None:
        places.move(fd, names.before, fd, names.live)  # half exchanged, or the agent took the new one away
        return
    if places.there(fd, names.before) is not None and places.there(fd, names.fresh) is None:
        places.move(fd, names.before, fd, names.fresh)
        ground.at("old at fresh")
    if places.there(fd, names.fresh) is None or not _is_new(place, names):
        return
    if places.there(fd, names.live) is None:
        places.move(fd, names.fresh, fd, names.live)
        return
    # The new version's siblings wait under the old version's name, which is not in use now, until both have changed.
    _siblings(place, names, names.live, names.fresh, ground)
    try:
        places.exchange(fd, names.live, names.fresh)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        places.move(fd, names.fresh, fd, names.before)
        places.move(fd, names.live, fd, names.fresh)
        ground.at("half exchanged back")
        places.move(fd, names.before, fd, names.live)
    ground.at("exchanged back")
