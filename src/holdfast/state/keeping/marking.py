"""What a snapshot reaches: every blob of its directories, lists and contents, each counted once.

Invariant: memory stays small. An id costs 24 bytes in a table of our own (about 140 in a Python set), and what is
still to be looked into is read in batches. Called by gc, usage and verification.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from holdfast.state.model import ID_BYTES, Content, Entry, Kind, Manifest, Snapshot
from holdfast.state.store import tree
from holdfast.state.store.damage import Damaged
from holdfast.state.store.names import Trashed
from holdfast.state.store.objects import StoreError

if TYPE_CHECKING:
    from holdfast.state.store.repository import Repository

READ_AT_ONCE = 256  # directories or lists asked for together: neighbours mostly lie in the same frames
_FIRST_SLOTS = 1 << 12


class IdTable:
    """Ids and their ordinals, in the order in which they came. Ids are hashes already, so they are their own hash."""

    def __init__(self) -> None:
        self._ids = bytearray()
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))  # ordinal + 1; 0: free
        self._mask = _FIRST_SLOTS - 1
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, blob: bytes) -> int:
        """Its ordinal; a new one is equal to the length before."""
        place = self._place(blob)
        found = self._slots[place]
        if found:
            return found - 1
        self._ids += blob
        self._count += 1
        self._slots[place] = self._count
        if self._count * 3 > (self._mask + 1) * 2:
            self._grow()
        return self._count - 1

    def find(self, blob: bytes) -> int:
        """Its ordinal, or -1."""
        return self._slots[self._place(blob)] - 1

    def id_of(self, ordinal: int) -> bytes:
        return bytes(self._ids[ordinal * ID_BYTES : (ordinal + 1) * ID_BYTES])

    def _place(self, blob: bytes) -> int:
        slots, ids, mask = self._slots, self._ids, self._mask
        place = int.from_bytes(blob[:8], "little") & mask
        while found := slots[place]:
            if ids[(found - 1) * ID_BYTES : found * ID_BYTES] == blob:
                break
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        size = (self._mask + 1) * 2
        self._mask = size - 1
        self._slots = array("I", bytes(4 * size))
        slots, ids, mask = self._slots, self._ids, self._mask
        for number in range(1, self._count + 1):
            at = (number - 1) * ID_BYTES
            place = int.from_bytes(ids[at : at + 8], "little") & mask
            while slots[place]:
                place = (place + 1) & mask
            slots[place] = number


class Seen:
    """Which ordinals of a table were visited in one sweep."""

    def __init__(self) -> None:
        self._flags = bytearray()

    def __contains__(self, ordinal: int) -> bool:
        return ordinal < len(self._flags) and self._flags[ordinal] == 1

    def add(self, ordinal: int) -> bool:
        """False when it was there."""
        if ordinal >= len(self._flags):
            self._flags.extend(bytes(ordinal + 1 - len(self._flags) + 65_536))
        if self._flags[ordinal]:
            return False
        self._flags[ordinal] = 1
        return True


OnBad = Callable[[bytes, StoreError], None]  # a directory or list that cannot be read, and why


def bare(one: Snapshot | Trashed) -> Snapshot:
    """The snapshot, wherever its manifest lies."""
    return one.snapshot if isinstance(one, Trashed) else one


def reach(
    repository: Repository, manifest: Manifest, table: IdTable, seen: Seen, on_bad: OnBad | None = None
) -> Iterator[int]:
    """The ordinals of all blobs of this snapshot that this sweep has not seen. What was seen is not looked into again.

    Raises StoreError (Damaged, MissingBlob among them) where a directory or a list cannot be read; with `on_bad` only
    where trying again may help, and goes on without what is damaged.
    """
    trees: list[bytes] = []
    lists: list[bytes] = []
    yield from _entries((root.entry for root in manifest.roots if root.entry is not None), table, seen, trees, lists)
    while trees or lists:
        waiting, is_tree = (lists, False) if lists else (trees, True)
        batch = waiting[-READ_AT_ONCE:]
        del waiting[-READ_AT_ONCE:]
        for blob, data in read_each(repository, batch, on_bad):
            try:
                if is_tree:
                    yield from _entries(tree.decode(data), table, seen, trees, lists)
                else:
                    yield from _leaves(tree.split_ids(data), table, seen)
            except tree.BadTree as error:
                damaged = Damaged(f"blob {blob.hex()}", str(error))
                if on_bad is None:
                    raise damaged from None
                on_bad(blob, damaged)


def read_each(
    repository: Repository, blobs: Sequence[bytes], on_bad: OnBad | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Id and content of each, in order; damaged ones go to `on_bad` instead. Raises StoreError, see `reach`."""
    done = 0
    try:
        for blob, data in zip(blobs, repository.read_many(blobs), strict=True):
            yield blob, data
            done += 1
        return
    except StoreError as error:
        if on_bad is None or not error.lasting:
            raise
    for blob in blobs[done:]:
        try:
            data = repository.read(blob)
        except StoreError as error:
            if not error.lasting:
                raise
            on_bad(blob, error)
            continue
        yield blob, data


def _entries(
    entries: Iterable[Entry], table: IdTable, seen: Seen, trees: list[bytes], lists: list[bytes]
) -> Iterator[int]:
    for entry in entries:
        if entry.kind is Kind.DIRECTORY:
            waiting: list[bytes] | None = trees
        elif entry.content is Content.CHUNKS:
            waiting = None
        else:
            waiting = lists
        for place, blob in enumerate(entry.blobs):
            ordinal = table.add(blob)
            if not seen.add(ordinal):
                continue
            yield ordinal
            if waiting is not None and not (place == 0 and entry.content is Content.SPARSE and waiting is lists):
                waiting.append(blob)


def _leaves(blobs: Iterable[bytes], table: IdTable, seen: Seen) -> Iterator[int]:
    for blob in blobs:
        ordinal = table.add(blob)
        if seen.add(ordinal):
            yield ordinal
