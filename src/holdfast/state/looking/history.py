"""Looking into snapshots without restoring: the versions of one path, and the content of one file.

Invariant: only the directories on the way to the path are read, and those only once, however many snapshots share
them. Nothing of the live tree is touched. Called by the worker's jobs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from holdfast.errors import STATE_PATH_NOT_FOUND, HoldfastError
from holdfast.limits import HISTORY_DIRECTORIES_KEPT
from holdfast.state.answers import Version, Versions
from holdfast.state.model import Entry, Kind, Root, Snapshot
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository

Progress = Callable[[int, int, str], None]


class Walker:
    """Finds paths in many snapshots of one repository; remembers the last directories it read."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._trees: dict[bytes, dict[bytes, Entry]] = {}

    def find(self, roots: Sequence[Root], path: str) -> Entry | None:
        """The entry at an absolute path; None: there was none. Raises StoreError."""
        below = _below(roots, path)
        if below is None:
            return None
        root, names = below
        entry = root.entry
        for name in names:
            if entry is None or entry.kind is not Kind.DIRECTORY:
                return None
            entry = self._directory(entry.blobs[0]).get(name)
        return entry

    def _directory(self, blob: bytes) -> dict[bytes, Entry]:
        found = self._trees.pop(blob, None)
        if found is None:
            found = {entry.name: entry for entry in self._repository.tree(blob)}
        while len(self._trees) >= HISTORY_DIRECTORIES_KEPT:
            del self._trees[next(iter(self._trees))]
        self._trees[blob] = found  # the newest at the end
        return found


def absolute(roots: Sequence[Root], path: str) -> str:
    """What a person means by `path`: an absolute one, or one below a state path (also named by its last part).

    Where several fit, the first state path in order is meant. Pure.
    """
    cleaned = os.path.normpath(path) if path else "."
    if cleaned.startswith("/"):
        return "/" + cleaned.lstrip("/")
    for root in roots:
        base = root.path.rstrip("/") or "/"
        first, _, rest = cleaned.partition("/")
        if first == os.path.basename(base):
            return os.path.normpath(f"{base}/{rest}")
    return os.path.normpath(f"{roots[0].path}/{cleaned}") if roots else "/" + cleaned


def candidates(roots: Sequence[Root], path: str) -> list[str]:
    """All absolute paths that `path` may mean, the likeliest first. Pure."""
    cleaned = os.path.normpath(path) if path else "."
    if cleaned.startswith("/"):
        return [absolute(roots, path)]
    below = [os.path.normpath(f"{root.path}/{cleaned}") for root in roots]
    return list(dict.fromkeys([*below, absolute(roots, path)]))


def versions(repository: Repository, path: str, progress: Progress = lambda done, total, what: None) -> Versions:
    """Of a file, link or directory: the snapshots from which on it was another one, newest first.

    A file is another one when its content, kind, or mode is; a directory when anything in it is. Snapshots that
    cannot be read are passed over. Raises HoldfastError: no snapshot has it.
    """
    every = _roots(repository, progress)
    walker = Walker(repository)
    wanted = dict.fromkeys(one for _, roots in every for one in candidates(roots, path))
    for one in wanted:
        found = _versions(walker, every, one)
        if found:
            return Versions(path=one, versions=found[::-1])
    raise HoldfastError(STATE_PATH_NOT_FOUND, agent=repository.config.agent, path=path)


def locate(repository: Repository, snapshot: Snapshot, path: str) -> tuple[str, Entry]:
    """Absolute path and entry. Raises HoldfastError: it has none there; StoreError."""
    roots = repository.manifest(snapshot).roots
    walker = Walker(repository)
    for one in candidates(roots, path):
        entry = walker.find(roots, one)
        if entry is not None:
            return one, entry
    raise HoldfastError(STATE_PATH_NOT_FOUND, agent=repository.config.agent, path=path)


def likeliest(repository: Repository, roots: Sequence[Root], path: str) -> str:
    """A path as people say it, absolute: the first candidate that is there, else the first. Raises StoreError."""
    meant, walker = candidates(roots, path), Walker(repository)
    return next((one for one in meant if walker.find(roots, one) is not None), meant[0])


def cat(repository: Repository, snapshot: Snapshot, path: str) -> Iterator[bytes]:
    """The content of one file, in pieces; of a link, what it points to. Raises HoldfastError at once: there is none,
    it is a directory; StoreError while it is read."""
    found, entry = locate(repository, snapshot, path)
    if entry.kind is Kind.DIRECTORY:
        raise HoldfastError(
            STATE_PATH_NOT_FOUND, agent=repository.config.agent, path=f"a file {found} (it is a directory)"
        )
    if entry.kind is Kind.LINK:
        return iter((entry.target,))
    return repository.entry_stream(entry)


def is_other(one: Entry | None, other: Entry | None) -> bool:
    """Whether the two differ in what a person calls a version: content, kind, mode or owner; not in dates. Pure."""
    return _face(one) != _face(other)


def _face(entry: Entry | None) -> tuple[object, ...] | None:
    if entry is None:
        return None
    return (entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.content, entry.blobs, entry.target)


def _versions(walker: Walker, every: Sequence[tuple[Snapshot, tuple[Root, ...]]], path: str) -> list[Version]:
    found: list[Version] = []
    last: Entry | None = None
    for snapshot, roots in every:
        try:
            entry = walker.find(roots, path)
        except StoreError as error:
            if not error.lasting:
                raise
            continue
        if not is_other(last, entry):
            continue
        change = "added" if last is None else "removed" if entry is None else "changed"
        found.append(
            Version(
                snapshot=snapshot.id,
                at=snapshot.at,
                change=change,
                size=entry.size if entry is not None and entry.kind is not Kind.DIRECTORY else None,
                mtime=entry.mtime_ns / 1e9 if entry is not None else None,
            )
        )
        last = entry
    return found


def _roots(repository: Repository, progress: Progress) -> list[tuple[Snapshot, tuple[Root, ...]]]:
    """Of each snapshot that can be read, oldest first."""
    snapshots = repository.snapshots()
    found = []
    for number, snapshot in enumerate(snapshots):
        progress(number, len(snapshots), "reading snapshots")
        try:
            found.append((snapshot, repository.manifest(snapshot).roots))
        except StoreError as error:
            if not error.lasting:
                raise
        except HoldfastError:
            continue  # of a newer format
    return found


def _below(roots: Sequence[Root], path: str) -> tuple[Root, list[bytes]] | None:
    """The state path that `path` lies in, and the names on the way down."""
    for root in sorted(roots, key=lambda one: len(one.path), reverse=True):
        base = root.path.rstrip("/")
        if path == base or path.startswith(base + "/"):
            rest = path[len(base) :].strip("/")
            return root, [os.fsencode(name) for name in rest.split("/")] if rest else []
    return None
