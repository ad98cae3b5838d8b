"""Which paths a restore replaces, and in which way: what the snapshot has there, what the machine has mounted there.

Invariant: looks, and creates nothing but directories on the way to one path that was asked for. Each path of a plan
lies in no other one, but for mount points, which are plans of their own. Called by materialize.py.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from holdfast import errors
from holdfast.state.identity import acting_as
from holdfast.state.looking import contents
from holdfast.state.looking.contents import Readable
from holdfast.state.model import Content, Entry, Kind, Manifest, Rights, Root, Snapshot
from holdfast.state.restore import places
from holdfast.state.restore.intent import Place


@dataclass(frozen=True, slots=True)
class Job:
    """One place, and what the snapshot has for it. `cuts`: directories in it that other jobs fill."""

    place: Place
    entry: Entry | None
    cuts: frozenset[bytes] = frozenset()
    may_go_inside: bool = False  # both versions are directories, or there is to be none


def choose(
    repository: Readable, manifest: Manifest, snapshot: Snapshot, only: str | None
) -> list[tuple[str, Entry | None]]:
    """Paths to restore and their entries. Raises HoldfastError RESTORE_NOT_THERE."""
    if only is None:
        return [(root.path, root.entry) for root in _outer(repository, manifest)]
    path = os.path.normpath(only)
    try:
        _root, entry = contents.find(repository, manifest, path)
    except LookupError:
        entry = None
    if entry is None:
        raise errors.HoldfastError(
            errors.RESTORE_NOT_THERE, agent=manifest.agent, snapshot=snapshot.short, path=path
        ) from None
    return [(path, entry)]


def _outer(repository: Readable, manifest: Manifest) -> list[Root]:
    """A state path inside another comes with it."""
    kept: list[Root] = []
    for root in sorted(manifest.roots, key=lambda each: len(each.path)):
        inside = [outer for outer in kept if root.path.startswith(outer.path.rstrip("/") + "/")]
        if not inside:
            kept.append(root)
    return kept


def plan(
    repository: Readable, manifest: Manifest, snapshot: Snapshot, rights: Rights | None, only: str | None
) -> list[Job]:
    """The jobs in the order of their exchange. Raises HoldfastError RESTORE_NOT_THERE, StoreError, OSError."""
    chosen = choose(repository, manifest, snapshot, only)
    for path, entry in chosen:
        if entry is not None:
            _make_way(repository, manifest, path, rights)
    table = places.mount_table()
    jobs: list[Job] = []
    for path, entry in chosen:
        jobs += _jobs(repository, path, entry, rights, table)
    return jobs


def _jobs(
    repository: Readable, path: str, entry: Entry | None, rights: Rights | None, table: dict[str, str]
) -> list[Job]:
    with acting_as(rights):
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        try:
            live = os.lstat(path)
        except FileNotFoundError:
            live = None
    present = entry is not None
    directory = entry is not None and entry.kind is Kind.DIRECTORY
    place = Place(path=path, present=present, directory=directory)
    place.database = entry is not None and entry.kind is Kind.FILE and entry.content is Content.DATABASE
    if live is None or not stat.S_ISDIR(live.st_mode) or not (directory or not present):
        return [Job(place, entry)]
    place.old_mode, place.old_mtime_ns = stat.S_IMODE(live.st_mode), live.st_mtime_ns
    place.mounts = places.mounts_below(real, table)
    place.inside = real in table
    place.by_entry = place.inside or bool(place.mounts) or places.only_by_entry(real, table)
    cuts: list[bytes] = []
    inner: list[Job] = []
    for mount in _outermost(place.mounts):
        found = _below(repository, entry, mount)
        if found is not None and found.kind is Kind.DIRECTORY and os.path.isdir(f"{real}/{mount}"):
            cuts.append(os.fsencode(mount))
            inner += _jobs(repository, f"{path}/{mount}", found, rights, table)
    return [Job(place, entry, frozenset(cuts), may_go_inside=True), *inner]


def _outermost(mounts: tuple[str, ...]) -> list[str]:
    kept: list[str] = []
    for mount in sorted(mounts, key=len):
        if not any(mount.startswith(outer + "/") for outer in kept):
            kept.append(mount)
    return kept


def _below(repository: Readable, entry: Entry | None, path: str) -> Entry | None:
    for name in os.fsencode(path).split(b"/"):
        if entry is None or entry.kind is not Kind.DIRECTORY:
            return None
        entry = next((each for each in contents.directory(repository, entry) if each.name == name), None)
    return entry


def _make_way(repository: Readable, manifest: Manifest, path: str, rights: Rights | None) -> None:
    """Directories on the way to a path that are gone are made again; below a state path as they were."""
    missing: list[str] = []
    above = os.path.dirname(path)
    with acting_as(rights):
        while not os.path.lexists(above):
            missing.append(above)
            above = os.path.dirname(above)
    for directory in reversed(missing):
        try:
            _root, entry = contents.find(repository, manifest, directory)
        except LookupError:
            entry = None
        with places.opened(directory, rights) as fd, acting_as(rights):
            os.mkdir(os.path.basename(directory), dir_fd=fd)
            if entry is not None:
                made = os.open(os.path.basename(directory), places.DIRECTORY, dir_fd=fd)
                try:
                    os.fchmod(made, entry.mode & 0o777 | 0o700)
                finally:
                    os.close(made)
