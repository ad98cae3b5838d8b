"""A database at the moment that database.py found for it, read piece by piece: as little of it as is proven enough.

Invariant: a piece is told to be the same only where sqlite_reuse.py proves it, or where it was read and its sum is the
one of the last capture. Made by database.py, iterated by intake.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from itertools import groupby

from msgspec.structs import replace

from holdfast.state.databases import sqlite_reuse
from holdfast.state.databases.sqlite_image import PIECE_BYTES, Image
from holdfast.state.databases.sqlite_reuse import Trace


class Capture:
    """One database at one moment. Iterate once, then look at `fuzzy` and `trace`; close in any case.

    Yields the next piece (PIECE_BYTES, the last one shorter; maybe a view of a larger buffer) or how many further
    pieces are the same as in the capture that left `previous` (int). The moment is that of its making, however late it
    is read.
    """

    def __init__(
        self, image: Image, held: ExitStack, doubt: Callable[[], str], trace: Trace | None, previous: Trace | None
    ) -> None:
        self.image, self._held, self._doubt, self._previous = image, held, doubt, previous
        self.wanted: list[int] | None = None  # pieces to read; None: all
        self.fuzzy = ""  # why it may not be of one moment; known after the last piece
        self.trace = trace

    @property
    def size(self) -> int:
        """Of the image, bytes."""
        return self.image.size

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._held.close()

    def __iter__(self) -> Iterator[bytes | memoryview | int]:
        """Raises OSError (the disk cannot be read)."""
        previous, sums = self._previous, b""
        if self.wanted is not None and (previous is None or not previous.sums):
            yield from self.image.some(self.wanted)
        elif self.wanted is not None and previous is not None:
            sums = yield from self._some(self.wanted, previous)
        elif previous is None:  # most databases are never read as a whole again: no sums yet
            for window in self.image.windows():
                yield from _pieces(window)
        else:
            sums = yield from self._compared(previous)
        if self.trace is not None:
            self.trace = replace(self.trace, sums=sums)
        self.fuzzy = "its log was written over while it was read" if self.image.torn else self._doubt()
        if self.fuzzy:
            self.trace = None

    def _compared(self, previous: Trace) -> Generator[memoryview | int, None, bytes]:
        """All of it is read, but pieces are cut only from the stretches that differ. Returns the sums."""
        sums: list[bytes] = []
        same = 0
        for window in self.image.windows():
            for start in range(0, len(window), sqlite_reuse.STRETCH_BYTES):
                stretch = window[start : start + sqlite_reuse.STRETCH_BYTES]
                found = sqlite_reuse.sum_of(stretch)
                if sqlite_reuse.is_same(previous, len(sums), found):
                    same += -(-len(stretch) // PIECE_BYTES)
                else:
                    if same:
                        yield same
                        same = 0
                    yield from _pieces(stretch)
                sums.append(found)
        if same:
            yield same
        return b"".join(sums)

    def _some(self, wanted: list[int], previous: Trace) -> Generator[memoryview | int, None, bytes]:
        """The stretches that hold wanted pieces are read whole, so that their sums stay known. Returns the sums."""
        sums, done = bytearray(sqlite_reuse.carried(previous, self.size, wanted)), 0
        for number, pieces in groupby(wanted, lambda piece: piece // sqlite_reuse.STRETCH_PIECES):
            stretch = self.image.stretch(number * sqlite_reuse.STRETCH_BYTES, sqlite_reuse.STRETCH_BYTES)
            found = sqlite_reuse.sum_of(stretch)
            at = number * sqlite_reuse.SUM_BYTES
            sums.extend(bytes(max(0, at - len(sums))))  # not known
            sums[at : at + len(found)] = found
            if sqlite_reuse.is_same(previous, number, found):
                continue
            for piece in pieces:
                if piece > done:
                    yield piece - done
                start = piece % sqlite_reuse.STRETCH_PIECES * PIECE_BYTES
                yield stretch[start : start + PIECE_BYTES]
                done = piece + 1
        if done < self.image.pieces:
            yield self.image.pieces - done
        return bytes(sums)


def _pieces(window: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(window), PIECE_BYTES):
        yield window[start : start + PIECE_BYTES]
