"""A snapshot's tree as one stream: directories entered and left, files with their bytes, links; each blob read in turn.

Invariant: whatever a file's size, only a few MiB are held, and blobs are asked for in the order in which capture stored
them, so a frame is decoded once. Every byte was checked against its id by the repository, and a file that does not come
out at its recorded size is damage. Called by materialize.py and export.py.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple, Protocol

from holdfast.state.model import Content, Entry, Kind, Manifest, Root
from holdfast.state.store import tree
from holdfast.state.store.damage import Damaged


class Act(IntEnum):
    """What to do next with the tree that comes out."""

    ENTER = 0  # a directory: make it, what follows lies in it
    LEAVE = 1  # it is complete: its own mode and times
    FILE = 2  # a whole file with all its bytes
    BEGIN = 3  # a large or sparse file; of a sparse one the map of its data comes along
    MORE = 4  # the next bytes of its data
    END = 5  # it is complete
    LINK = 6  # a symbolic link
    SAME = 7  # another name of a file or symbolic link that came before (equal `links`)


class Part(NamedTuple):
    """One step of the stream. `data`: bytes of FILE and MORE, the map of BEGIN."""

    act: Act
    entry: Entry
    data: list[bytes]


class Readable(Protocol):
    """What is asked of a repository here. Its methods raise StoreError (Damaged, MissingBlob)."""

    def read(self, id: bytes, /) -> bytes: ...

    def read_many(self, ids: Iterable[bytes], /) -> Iterator[bytes]: ...


def directory(repository: Readable, entry: Entry) -> list[Entry]:
    """What lies in a directory, names checked. Raises StoreError."""
    try:
        return tree.decode(repository.read(entry.blobs[0]))
    except tree.BadTree as e:
        raise Damaged(os.fsdecode(entry.name), str(e)) from e


def _ids(entry: Entry, extent: bytes) -> list[bytes]:
    try:
        return tree.split_ids(extent)
    except tree.BadTree as e:
        raise Damaged(os.fsdecode(entry.name), str(e)) from e


def spans_of(entry: Entry, data: bytes) -> list[tuple[int, int]]:
    """Where the data of a sparse file lies. Raises Damaged."""
    try:
        spans = tree.split_spans(data)
    except tree.BadTree as e:
        raise Damaged(os.fsdecode(entry.name), str(e)) from e
    if spans and sum(spans[-1]) > entry.size:
        raise Damaged(os.fsdecode(entry.name), "its data lies beyond its end")
    return spans


_Wanted = tuple[Act, Entry, list[bytes]]  # a Part whose data are still ids
_NONE: list[bytes] = []


def sweep(repository: Readable, top: Entry, cuts: Collection[bytes] = ()) -> Iterator[Part]:
    """The tree below `top`, itself first. `cuts`: paths below it ("a/b") of directories that come out empty.

    Raises StoreError; Damaged also where a file's size is not the recorded one.
    """
    waiting: deque[_Wanted] = deque()

    def ids() -> Iterator[bytes]:
        for wanted in _walk(repository, top, cuts):
            waiting.append(wanted)
            yield from wanted[2]

    got: list[bytes] = []
    sizes = _Sizes()
    for data in repository.read_many(ids()):
        while not waiting[0][2]:
            yield sizes.check(Part(*waiting.popleft()))
        got.append(data)
        if len(got) == len(waiting[0][2]):
            act, entry, _ids = waiting.popleft()
            yield sizes.check(Part(act, entry, got))
            got = []
    while waiting:
        act, entry, missing = waiting.popleft()
        if missing:
            raise Damaged(os.fsdecode(entry.name), "fewer blobs came than were asked for")
        yield sizes.check(Part(act, entry, _NONE))


class _Sizes:
    """Counts each file's bytes against its entry."""

    def __init__(self) -> None:
        self._left = 0

    def check(self, part: Part) -> Part:
        act, entry, data = part
        if act is Act.FILE:
            self._left = entry.size - sum(map(len, data))
        elif act is Act.BEGIN:
            self._left = entry.size
            if data:  # sparse: what its map names
                self._left = sum(length for _offset, length in spans_of(entry, data[0]))
        elif act is Act.MORE:
            self._left -= sum(map(len, data))
        if (act is Act.FILE or act is Act.END) and self._left:
            raise Damaged(os.fsdecode(entry.name), f"its blobs are {-self._left:+d} bytes away from its size")
        return part


def _walk(repository: Readable, top: Entry, cuts: Collection[bytes]) -> Iterator[_Wanted]:
    """Depth first, names in order; a stack of its own, since directories may be nested a thousand deep."""
    linked: set[tuple[int, int]] = set()
    path: list[bytes] = []
    levels: list[tuple[Entry, Iterator[Entry]]] = []
    entries = iter([top])
    while True:
        entry = next(entries, None)
        if entry is None:
            if not levels:
                return
            left, entries = levels.pop()
            if path:
                path.pop()
            yield Act.LEAVE, left, _NONE
        elif entry.kind is Kind.DIRECTORY:
            yield Act.ENTER, entry, _NONE
            inside = bool(levels)
            levels.append((entry, entries))
            if inside:
                path.append(entry.name)
            cut = bool(cuts) and inside and b"/".join(path) in cuts
            entries = iter([] if cut else directory(repository, entry))
        elif entry.links is not None and entry.links in linked:
            yield Act.SAME, entry, _NONE
        else:
            if entry.links is not None:
                linked.add(entry.links)
            if entry.kind is Kind.LINK:
                yield Act.LINK, entry, _NONE
            else:
                yield from _file(repository, entry)


def _file(repository: Readable, entry: Entry) -> Iterator[_Wanted]:
    if entry.content is Content.CHUNKS:
        yield from _chunks(entry)
        return
    extents = entry.blobs
    if entry.content is Content.SPARSE:
        if not extents:
            raise Damaged(os.fsdecode(entry.name), "it has no map of its data")
        yield Act.BEGIN, entry, [extents[0]]
        extents = extents[1:]
    else:
        yield Act.BEGIN, entry, _NONE
    for extent in extents:
        yield Act.MORE, entry, _ids(entry, repository.read(extent))
    yield Act.END, entry, _NONE


_AT_ONCE_BYTES = 4 * 1024 * 1024  # chunks are 64 KiB on average and 256 KiB at most


def _chunks(entry: Entry) -> Iterator[_Wanted]:
    if entry.size <= _AT_ONCE_BYTES:
        yield Act.FILE, entry, list(entry.blobs)
        return
    yield Act.BEGIN, entry, _NONE
    for at in range(0, len(entry.blobs), 16):
        yield Act.MORE, entry, list(entry.blobs[at : at + 16])
    yield Act.END, entry, _NONE


def find(repository: Readable, manifest: Manifest, path: str) -> tuple[Root, Entry | None]:
    """What the snapshot has at an absolute path: the state path it lies in, and its entry (None: it was not there).

    Raises LookupError when no state path of the snapshot leads there, and StoreError.
    """
    wanted = os.path.normpath(path)
    roots = [root for root in manifest.roots if wanted == root.path or wanted.startswith(root.path.rstrip("/") + "/")]
    if not roots:
        raise LookupError(path)
    root = max(roots, key=lambda each: len(each.path))
    entry = root.entry
    below = os.fsencode(wanted)[len(os.fsencode(root.path)) :].strip(b"/")
    for name in below.split(b"/") if below else []:
        if entry is None or entry.kind is not Kind.DIRECTORY:
            return root, None
        entry = next((each for each in directory(repository, entry) if each.name == name), None)
    return root, entry


def stored_bytes(repository: Readable, top: Entry) -> tuple[int, int]:
    """(bytes, names) that the tree takes on a disk: hard links once, holes of sparse files not at all."""
    size = names = 0
    for act, entry, blobs in _walk(repository, top, ()):
        if act is Act.FILE:
            size += entry.size
        elif act is Act.BEGIN:
            size += _data_bytes(repository, entry, blobs)
        names += act in (Act.ENTER, Act.FILE, Act.BEGIN, Act.LINK)
    return size, names


def _data_bytes(repository: Readable, entry: Entry, spans: list[bytes]) -> int:
    if not spans:
        return entry.size
    return sum(length for _offset, length in spans_of(entry, repository.read(spans[0])))
