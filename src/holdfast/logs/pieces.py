"""One agent's output as a stream of pieces: archives, rotated files and the log, oldest first.

Invariants: nothing stands twice in the stream and nothing is missing, whatever is rotated, compressed or deleted while
it is opened; a damaged archive is passed over, not fatal. Times come from the indexes and are exact to about a second.
Called by read.py, search.py and the shipper.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right

from holdfast import limits
from holdfast.logs import archive, index, rotation

READ_BYTES = 64 * 1024
FILES_MAX = 1000  # numbers looked for; more files than this are not kept


class Times:
    """Records (T, O): the bytes before O were captured before T ns; those behind it at T or later."""

    def __init__(self, records: bytes) -> None:
        both = array("Q", records[: len(records) // index.RECORD.size * index.RECORD.size])
        if _BIG_ENDIAN:
            both.byteswap()
        self._at, self._offsets = both[0::2], both[1::2]

    def stamp(self, offset: int) -> int | None:
        """About when the byte at `offset` was captured, ns; None when there are no records.

        A nanosecond for each byte since the record: so stamps ascend, and a line has the same one at each reading.
        """
        place = bisect_right(self._offsets, offset) - 1
        if place < 0:
            return self._at[0] if self._at else None
        return self._at[place] + min(offset - self._offsets[place], 999_999_999)

    def first(self) -> int | None:
        return self._at[0] if self._at else None

    def end_before(self, at_ns: int, size: int) -> int | None:
        """Where what was captured after `at_ns` begins; None: before all records, or there are none."""
        for place in range(len(self._at) - 1, -1, -1):  # from the end: after a clock jump times do not ascend
            if self._at[place] <= at_ns:
                return min(size, self._offsets[place + 1]) if place + 1 < len(self._at) else size
        return None


_BIG_ENDIAN = array("H", [1]).tobytes()[0] == 0


class Piece:
    """An open file of the stream. `inode` and `changed_ns` are those of the file as the logger wrote it."""

    def __init__(self, path: str, packed: archive.Archive | None, fd: int) -> None:
        self.path = path
        self._packed = packed
        self._fd = fd
        self._times: Times | None = None
        if packed is not None:
            self.inode, self.size, self.changed_ns = packed.identity
        else:
            self.inode, self.size, self.changed_ns = archive.identity_of(fd)

    @property
    def identity(self) -> archive.Identity:
        return archive.Identity(self.inode, self.size, self.changed_ns)

    @property
    def is_packed(self) -> bool:
        return self._packed is not None

    def refresh(self) -> None:
        """A log grows; what is packed or rotated does not."""
        if self._packed is None:
            self.inode, self.size, self.changed_ns = archive.identity_of(self._fd)

    def read(self, count: int, offset: int) -> bytes:
        """Up to `count` bytes from `offset`, perhaps less before the end; empty at the end."""
        return self._packed.read(count, offset) if self._packed is not None else os.pread(self._fd, count, offset)

    def offset_before(self, at_ns: int) -> int | None:
        """See index.offset_before."""
        if self._packed is None:
            return index.offset_before(self.path + index.SUFFIX, self.inode, at_ns, self.size)
        return index.last_before(self._packed.times(), at_ns, self.size)

    def times(self) -> Times:
        if self._times is None:
            if self._packed is not None:
                records = self._packed.times()
            else:
                records = index.records(self.path + index.SUFFIX, self.inode)
            self._times = Times(records)
        return self._times

    def close(self) -> None:
        """Idempotent."""
        if self._packed is not None:
            self._packed.close()
        elif self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def open_pieces(directory: str) -> list[Piece]:
    """All of an agent's output, oldest first. The caller closes them. A missing directory has none.

    Opened newest first: a rotation in between moves files to higher numbers, and compression into an archive, so none
    is missed; what is met in both forms is taken once.
    """
    try:
        there = set(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    highest = max((int(n) for n in (e.removeprefix("log.") for e in there) if n.isascii() and n.isdigit()), default=0)
    plain: list[Piece] = []
    for number in range(min(highest, FILES_MAX) + 2):  # one more: a rotation may be under way
        path = rotation.path_of(directory, number)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        piece = Piece(path, None, fd)
        if any(piece.inode == other.inode for other in plain):
            piece.close()
        else:
            plain.append(piece)
    packed = _open_archives(directory, {piece.identity for piece in plain})
    return packed + plain[::-1]


def _open_archives(directory: str, present: set[archive.Identity]) -> list[Piece]:
    """Oldest first, without those whose source is still there (`present`)."""
    found: list[Piece] = []
    seen: set[archive.Identity] = set()
    for number in archive.numbers(directory):
        path = archive.path_of(directory, number)
        try:
            opened = archive.Archive(path)
        except OSError:  # deleted in between, or damaged
            continue
        if opened.identity in present or opened.identity in seen:
            opened.close()
            continue
        seen.add(opened.identity)
        found.append(Piece(path, opened, -1))
    return found


class Stream:
    """All pieces as one sequence of bytes, as it was when opened. Offsets count from its oldest byte."""

    def __init__(self, directory: str) -> None:
        self.pieces = open_pieces(directory)
        self._starts = [0]
        for piece in self.pieces:
            self._starts.append(self._starts[-1] + piece.size)
        self.size = self._starts[-1]

    def place(self, offset: int) -> tuple[int, int]:
        """Number of the piece and offset in it; the end of the stream is the end of the last piece."""
        number = min(bisect_right(self._starts, offset), len(self.pieces)) - 1
        return number, offset - self._starts[number]

    def start_of(self, number: int) -> int:
        return self._starts[number]

    def read(self, count: int, offset: int) -> bytes:
        """Up to `count` bytes from `offset`, perhaps less before the end; empty at the end. Raises OSError."""
        while 0 <= offset < self.size:
            number, inner = self.place(offset)
            data = self.pieces[number].read(min(count, self._starts[number + 1] - offset), inner)
            if data:
                return data
            offset = self._starts[number + 1]  # emptied meanwhile
        return b""

    def stamp(self, offset: int) -> int:
        """When the byte at `offset` was captured, ns since 1970."""
        number, inner = self.place(offset)
        found = self.pieces[number].times().stamp(inner)
        return self.pieces[number].changed_ns if found is None else found

    def since(self, at_ns: int) -> int:
        """Where the output of `at_ns` and later begins; the beginning of its line."""
        for number in range(len(self.pieces) - 1, -1, -1):
            piece = self.pieces[number]
            # changed before: nothing in it is that new
            offset = piece.size if piece.changed_ns < at_ns else piece.offset_before(at_ns)
            if offset is not None:
                at = self._starts[number] + offset
                return at if offset == piece.size and number + 1 < len(self.pieces) else self.line_start(at)
        return 0

    def until(self, at_ns: int) -> int:
        """Where the output captured after `at_ns` begins, perhaps in the middle of a line."""
        for number in range(len(self.pieces) - 1, -1, -1):
            piece = self.pieces[number]
            inner = piece.size if piece.changed_ns <= at_ns else piece.times().end_before(at_ns, piece.size)
            if inner is None and piece.times().first() is None:
                inner = piece.size  # no index: better too much than too little
            if inner is not None:
                return self._starts[number] + inner
        return 0

    def line_start(self, offset: int) -> int:
        """Where the line that `offset` lies in begins; `offset` itself when that is too far back."""
        start = max(0, offset - limits.LOG_LINE_SHOWN_MAX_BYTES)
        newline = self._all(start, offset).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        return 0 if start == 0 else offset

    def last_lines(self, count: int, end: int | None = None) -> int:
        """Where the last `count` lines before `end` begin, read from the end."""
        end = self.size if end is None else end
        if count <= 0 or not end:
            return end
        wanted = count + 1  # the newline in front of the first line wanted
        if self._all(end - 1, end) != b"\n":  # a newline at the very end closes a line and begins none
            wanted -= 1
        while end > 0:
            number, _ = self.place(end - 1)
            start = max(self._starts[number], end - READ_BYTES)
            chunk = self._all(start, end)
            here = chunk.count(b"\n")
            if here < wanted:
                wanted -= here
                end = start
                continue
            at = len(chunk)
            for _ in range(wanted):
                at = chunk.rfind(b"\n", 0, at)
            return start + at + 1
        return 0

    def _all(self, start: int, end: int) -> bytes:
        parts = []
        while start < end:
            data = self.read(end - start, start)
            if not data:
                break
            parts.append(data)
            start += len(data)
        return b"".join(parts)

    def close(self) -> None:
        """Idempotent."""
        for piece in self.pieces:
            piece.close()
