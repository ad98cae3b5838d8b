"""A database as one file: its pages at one moment, in pieces of 8 KiB, whatever its page size.

Page n is its committed copy in the write-ahead log (or in a hot rollback journal), else what the database file holds.
The result opens without `-wal`, `-shm` or `-journal`, and keeps its journal mode. Memory is bounded by one window.
What makes the moment one moment is not decided here but by database.py, which calls this.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from holdfast.state.databases import sqlite_wal
from holdfast.state.databases.sqlite_header import is_database

__all__ = ["PIECE_BYTES", "Image", "is_database", "pieces_of"]

PIECE_BYTES = 8_192
WINDOW_BYTES = 1_048_576


def pieces_of(pages: Iterable[int], page_size: int, count: int) -> list[int]:
    """The pieces, of `count`, that hold something of these pages, in order."""
    if page_size <= PIECE_BYTES:
        shift = (PIECE_BYTES // page_size).bit_length() - 1
        found = {(page - 1) >> shift for page in pages}
    else:
        wide = page_size // PIECE_BYTES
        found = {piece for page in pages for piece in range((page - 1) * wide, page * wide)}
    return sorted(piece for piece in found if piece < count)


@dataclass(slots=True)
class Image:
    """`size`: of the image, bytes. `overlay`: page number -> where in `overlay_fd` its content stands instead.

    `torn`: what was read from the overlay was not what its index told; it was written over meanwhile.
    """

    main_fd: int
    page_size: int
    size: int
    overlay_fd: int = -1
    overlay: dict[int, int] = field(default_factory=dict)
    salts: bytes = b""  # of a write-ahead log: each frame is checked to be the one meant
    torn: bool = False
    _sorted: list[int] = field(default_factory=list)  # pages in the overlay

    @property
    def pieces(self) -> int:
        return -(-self.size // PIECE_BYTES)

    def windows(self) -> Iterator[memoryview]:
        """All of it, in order, WINDOW_BYTES at a time; the last may be shorter. Raises OSError."""
        pages = self._pages()
        for start in range(0, self.size, WINDOW_BYTES):
            yield memoryview(self._read(start, min(WINDOW_BYTES, self.size - start), pages))

    def stretch(self, start: int, length: int) -> memoryview:
        """A part of it, shorter only at its end. Raises OSError."""
        return memoryview(self._read(start, min(length, self.size - start), self._pages()))

    def _pages(self) -> list[int]:
        if len(self._sorted) != len(self.overlay):
            self._sorted = sorted(self.overlay)
        return self._sorted

    def some(self, wanted: Sequence[int]) -> Iterator[bytes | int]:
        """The pieces in `wanted` (in order); in place of the others how many were skipped. Raises OSError."""
        pages, done = self._pages(), 0
        for piece in wanted:
            if piece > done:
                yield piece - done
            start = piece * PIECE_BYTES
            yield bytes(self._read(start, min(PIECE_BYTES, self.size - start), pages))
            done = piece + 1
        if done < self.pieces:
            yield self.pieces - done

    def _read(self, start: int, length: int, pages: list[int]) -> bytearray:
        """A stretch of the image. What lies beyond the end of the database file and in no frame is zero."""
        first, last = start // self.page_size + 1, (start + length - 1) // self.page_size + 1
        low = bisect_left(pages, first)
        high = bisect_left(pages, last + 1, low)
        found = bytearray(length)
        if high - low != last - first + 1 or self.page_size > length:  # not all of it stands in the overlay
            os.preadv(self.main_fd, [found], start)
        for page in pages[low:high]:
            offset = (page - 1) * self.page_size - start
            content = self._page(page)
            if offset < 0:
                content, offset = content[-offset:], 0
            content = content[: length - offset]
            found[offset : offset + len(content)] = content
        return found

    def _page(self, page: int) -> bytes:
        offset = self.overlay[page]
        if not self.salts:
            content = os.pread(self.overlay_fd, self.page_size, offset)
        else:
            head = sqlite_wal.FRAME_HEADER_BYTES
            frame = os.pread(self.overlay_fd, head + self.page_size, offset - head)
            content = frame[head:]
            self.torn |= not sqlite_wal.is_frame(frame[:head], page, self.salts)
        if len(content) < self.page_size:
            self.torn = True
            content += bytes(self.page_size - len(content))
        return content
