"""Cutting a file's content into blobs: where the content itself says, so that an insertion moves few of them.

Invariant: the cuts of a stream are those of the whole content, however it arrives in windows; memory is one window and
the largest chunk. Pure, apart from the cutting library. Called by intake.py.
"""

from __future__ import annotations

from fastcdc.fastcdc_cy import fastcdc_cy  # type: ignore[import-untyped]

from holdfast.state.model import ID_BYTES, Content
from holdfast.state.store.tree import CHUNKS_MAX, IDS_IN_EXTENT

WHOLE_MAX_BYTES = 32 * 1024  # smaller contents are one blob: their edits rewrite no more than a chunk would
CHUNK_MIN_BYTES = 16 * 1024
CHUNK_AVERAGE_BYTES = 64 * 1024
CHUNK_MAX_BYTES = 256 * 1024


class Cutter:
    """Cuts one content that arrives in windows."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, window: bytes) -> list[bytes]:
        """The chunks that are certain now."""
        content = self._tail + window if self._tail else window
        if len(content) <= CHUNK_MAX_BYTES:
            self._tail = content
            return []
        return self._cut(content, CHUNK_MAX_BYTES)

    def end(self) -> list[bytes]:
        """The rest."""
        return self._cut(self._tail, 0)

    def _cut(self, content: bytes, unsure: int) -> list[bytes]:
        """A cut depends on what follows it up to the largest chunk: nearer to the end than `unsure` none is made."""
        chunks: list[bytes] = []
        end, last = 0, len(content) - unsure
        if content:
            for chunk in fastcdc_cy(content, CHUNK_MIN_BYTES, CHUNK_AVERAGE_BYTES, CHUNK_MAX_BYTES):
                if chunk.offset > last:
                    break
                end = chunk.offset + chunk.length
                chunks.append(content[chunk.offset : end])
        self._tail = content[end:]
        return chunks


class IdList:
    """The ids of a content's blobs while they come to be: short in the entry itself, long as extents' blobs."""

    def __init__(self, content: Content = Content.CHUNKS) -> None:
        """`content`: CHUNKS becomes EXTENTS when it grows long; the others are extents from the first id on."""
        self.content = content
        self.blobs: list[bytes] = []
        self._open = bytearray()

    def add(self, blob: bytes) -> bytes | None:
        """An extent's blob to store, when one is full; its id goes to `stored`."""
        return self.add_some(blob)

    def add_some(self, blobs: bytes) -> bytes | None:
        """As `add`, of several ids, none of which goes beyond the extent that is open."""
        self._open += blobs
        if len(self._open) < IDS_IN_EXTENT * ID_BYTES:
            return None
        return self._full()

    @property
    def at_boundary(self) -> bool:
        """Whether the next id begins an extent."""
        return not self._open

    def stored(self, extent: bytes) -> None:
        self.blobs.append(extent)

    def finish(self) -> bytes | None:
        """The last extent's blob to store, if there is one."""
        if self.content is Content.CHUNKS and len(self._open) <= CHUNKS_MAX * ID_BYTES:
            self.blobs = [bytes(self._open[at : at + ID_BYTES]) for at in range(0, len(self._open), ID_BYTES)]
            return None
        return self._full() if self._open else None

    def _full(self) -> bytes:
        if self.content is Content.CHUNKS:
            self.content = Content.EXTENTS
        extent = bytes(self._open)
        self._open.clear()
        return extent
