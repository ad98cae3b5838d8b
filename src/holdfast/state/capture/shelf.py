"""What is found while an agent stands still, put aside until it goes on: its pause pays for reading, not for storing.

Invariant: an id that `put` returned is stored by `empty`, or was before; until then the contents are in memory, no more
than FREEZE_SHELF_BYTES of them. Stands in for the writer in the second pass of capture.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from blake3 import blake3

from holdfast import limits
from holdfast.state.model import ID_BYTES, BlobId
from holdfast.state.store.pack import BlobKind
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer


class TooMuch(Exception):
    """More changed than can be read in the time of one pause; str() says so."""


class Shelf:
    """In front of `writer`, which has been flushed."""

    def __init__(self, writer: Writer, deadline_mono: float) -> None:
        self._writer = writer
        self._deadline_mono = deadline_mono
        self._key = writer.repository.keys.ids
        self._held: dict[BlobId, tuple[bytes, BlobKind]] = {}
        self._held_bytes = 0

    @property
    def repository(self) -> Repository:
        return self._writer.repository

    def look(self) -> None:
        """Raises TooMuch when the time of the pause is over."""
        if time.monotonic() >= self._deadline_mono:
            raise TooMuch("more changed at once than can be read while it stands still")

    def put(self, data: bytes, kind: BlobKind = BlobKind.DATA) -> BlobId:
        """As the writer's. Raises TooMuch, StoreError."""
        blob = blake3(data, key=self._key).digest(ID_BYTES)
        if blob not in self._held and not self._writer.has(blob):
            self._hold(blob, data, kind)
        return blob

    def put_many(self, pieces: Sequence[bytes | memoryview], kind: BlobKind = BlobKind.DATA) -> list[BlobId]:
        """As the writer's. Raises TooMuch, StoreError."""
        blobs = [blake3(piece, key=self._key).digest(ID_BYTES) for piece in pieces]
        known = self._writer.known(blobs)
        for blob, piece in zip(blobs, pieces, strict=True):
            if blob not in self._held and blob not in known:
                self._hold(blob, bytes(piece), kind)
        return blobs

    def _hold(self, blob: BlobId, data: bytes, kind: BlobKind) -> None:
        self.look()
        self._held_bytes += len(data)
        if self._held_bytes > limits.FREEZE_SHELF_BYTES:
            raise TooMuch("more changed at once than is held in memory while it stands still")
        self._held[blob] = data, kind

    def empty(self) -> None:
        """Into the writer, in the order in which it came. Raises StoreError."""
        for data, kind in self._held.values():
            self._writer.put(data, kind)
        self._held.clear()
        self._held_bytes = 0
