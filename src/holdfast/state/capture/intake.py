"""One file's content into the repository: read as the agent, stored as ourselves, in windows.

Invariant: what an entry says is what one reading found between two equal looks at the file; a file that changes under
every reading is flagged fuzzy. At most a window and its chunks are in memory, whatever the size. Nothing but regular
files is ever opened, and nothing through a symlink. Called by capture.py, which acts as the agent all the time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import msgspec
from msgspec.structs import replace

from holdfast import limits
from holdfast.state.capture import chunking
from holdfast.state.capture.chunking import Cutter, IdList
from holdfast.state.capture.freeze import Freezer
from holdfast.state.capture.shelf import Shelf
from holdfast.state.databases import database
from holdfast.state.databases.sqlite_image import PIECE_BYTES
from holdfast.state.databases.sqlite_reuse import Trace
from holdfast.state.model import ID_BYTES, Content, Entry, Kind, Rights
from holdfast.state.opening import open_file, user_xattrs
from holdfast.state.store import tree
from holdfast.state.store.pack import BlobKind
from holdfast.state.store.writer import Writer

WINDOW_BYTES = 1024 * 1024
_DATABASE = b"SQLite format 3\0"
_HOLE_MIN_BYTES = 64 * 1024  # in all; a file that saves less is kept as if it had none
_SPANS_MAX = 65_536  # a map of 1 MiB; then small holes are kept as zeros
_PIECES = 128  # of a database, looked up together: one extent

_TRACE = msgspec.msgpack.Decoder(Trace)


class Intake:
    """Makes entries of files.

    `tick` is told how many bytes were read, and may raise to give up. `ours` makes us ourselves for a block: around
    every use of the repository. `still`: the agent stands still, so nothing is waited for.
    """

    def __init__(
        self,
        writer: Writer | Shelf,
        rights: Rights | None,
        tick: Callable[[int], None],
        *,
        ours: Callable[[], AbstractContextManager[None]] = nullcontext,
        freezer: Freezer | None = None,
        scratch: str | None = None,
        still: bool = False,
    ) -> None:
        self.writer = writer
        self._rights = rights
        self._tick = self.tick = tick
        self._still = still
        self.ours = ours
        self._freezer = freezer
        self._scratch = scratch
        self.traces: dict[bytes, bytes] = {}  # of the databases of one directory; the caller takes them away

    def file(
        self, directory: int, name: bytes, before: Entry | None = None, trace: bytes = b""
    ) -> tuple[Entry, bytes | None]:
        """The file's entry; with its content where that is small and still to be stored by the caller as one blob.

        `before`: its entry in the last snapshot, with what its capture left.
        Raises FileNotFoundError, Replaced, OSError.
        """
        fd, seen = open_file(directory, name)
        try:
            if os.pread(fd, len(_DATABASE), 0) == _DATABASE:
                try:
                    return self._database(directory, name, fd, seen, before, trace), None
                except database.NotADatabase:
                    pass
            return self._plain(name, fd, seen)
        finally:
            os.close(fd)

    # --- plain files -----------------------------------------------------------------------------------------

    def _plain(self, name: bytes, fd: int, seen: os.stat_result) -> tuple[Entry, bytes | None]:
        big = seen.st_size > limits.SNAPSHOT_REREAD_BYTES
        for _ in range(2 if big else limits.SNAPSHOT_FILE_TRIES):
            if seen.st_size <= chunking.WHOLE_MAX_BYTES:
                small = _exactly(fd, 0, seen.st_size)
                ids, size = IdList(), len(small)
            else:
                small = None
                ids, size = self._large(fd, seen)
            after = os.fstat(fd)
            fuzzy = size != after.st_size or _moment(after) != _moment(seen)
            seen = after
            if not fuzzy:
                break
        if small is not None:
            self._tick(size)
        entry = _entry(name, fd, seen, size=size, content=ids.content, blobs=tuple(ids.blobs), fuzzy=fuzzy)
        return entry, small or None

    def _large(self, fd: int, seen: os.stat_result) -> tuple[IdList, int]:
        """(what it is stored as, its size as read)."""
        spans = _data_spans(fd, seen)
        if spans is None:
            ids = IdList()
            return ids, self._stored(ids, _windows(fd, 0, seen.st_size))
        ids = IdList(Content.SPARSE)
        with self.ours():
            ids.stored(self.writer.put(tree.join_spans(spans), BlobKind.EXTENT))
        read = self._stored(ids, (window for span in spans for window in _filled(fd, *span)))
        return ids, seen.st_size if read == sum(length for _, length in spans) else -1

    def _stored(self, ids: IdList, windows: Iterator[bytes]) -> int:
        cutter = Cutter()
        size = 0
        for window in windows:
            size += len(window)
            self._tick(len(window))
            self._put(ids, cutter.feed(window))
        self._put(ids, cutter.end())
        with self.ours():
            last = ids.finish()
            if last is not None:
                ids.stored(self.writer.put(last, BlobKind.EXTENT))
        return size

    def _put(self, ids: IdList, pieces: Sequence[bytes | memoryview]) -> None:
        if not pieces:
            return
        with self.ours():
            for blob in self.writer.put_many(pieces):
                extent = ids.add(blob)
                if extent is not None:
                    ids.stored(self.writer.put(extent, BlobKind.EXTENT))

    # --- databases -------------------------------------------------------------------------------------------

    def _database(
        self, directory: int, name: bytes, fd: int, seen: os.stat_result, before: Entry | None, trace: bytes
    ) -> Entry:
        """Raises NotADatabase, OSError."""
        known = before is not None and before.content is Content.DATABASE and bool(trace)
        ids = IdList(Content.DATABASE)
        with self.ours():
            taken = database.capture(
                directory,
                name,
                self._rights,
                _TRACE.decode(trace) if known else None,
                freezer=self._freezer,
                scratch=self._scratch,
                still=self._still,
            )
            with taken:
                then = _Then(self, before.blobs if known and before is not None else ())
                self._pieces(ids, taken, then)
                size, fuzzy = taken.size, bool(taken.fuzzy)
                if taken.trace is not None:
                    self.traces[name] = msgspec.msgpack.encode(taken.trace)
        entry = _entry(name, fd, seen, size=size, content=Content.DATABASE, blobs=tuple(ids.blobs), fuzzy=fuzzy)
        if before is not None and before.content is Content.DATABASE and before.blobs == entry.blobs:
            # A checkpoint or a reader touched the file, and what it holds is the same.
            entry = replace(entry, mtime_ns=before.mtime_ns)
        return entry

    def _pieces(self, ids: IdList, taken: database.Capture, then: _Then) -> None:
        at = 0
        gathered: list[bytes | memoryview] = []
        for piece in taken:
            if isinstance(piece, int):
                self._tick(0)
                if gathered:
                    self._put(ids, gathered)
                    gathered = []
                then.repeat(ids, at, piece)
                at += piece
                continue
            at += 1
            gathered.append(piece)
            if len(gathered) == _PIECES:
                self._tick(_PIECES * PIECE_BYTES)
                self._put(ids, gathered)
                gathered = []
        self._put(ids, gathered)
        last = ids.finish()
        if last is not None:
            ids.stored(self.writer.put(last, BlobKind.EXTENT))


class _Then:
    """The pieces' ids of a database as it was, read where they are needed."""

    def __init__(self, intake: Intake, extents: tuple[bytes, ...]) -> None:
        self._intake = intake
        self._extents = extents
        self._open = -1
        self._ids = b""  # of the one that is open

    def repeat(self, ids: IdList, at: int, count: int) -> None:
        """The same `count` pieces from number `at` on. Whole extents are taken over unread."""
        writer = self._intake.writer
        while count > 0:
            number, inner = divmod(at, tree.IDS_IN_EXTENT)
            if inner == 0 and count >= tree.IDS_IN_EXTENT and ids.at_boundary:
                ids.stored(self._extents[number])
                at += tree.IDS_IN_EXTENT
                count -= tree.IDS_IN_EXTENT
                continue
            if number != self._open:
                self._ids = writer.repository.read(self._extents[number])
                self._open = number
            taken = min(count, tree.IDS_IN_EXTENT - inner)
            some = self._ids[inner * ID_BYTES : (inner + taken) * ID_BYTES]
            if len(some) != taken * ID_BYTES:
                raise tree.BadTree("a list of blobs is cut off")
            extent = ids.add_some(some)
            if extent is not None:
                ids.stored(writer.put(extent, BlobKind.EXTENT))
            at += taken
            count -= taken


def _entry(
    name: bytes,
    fd: int,
    seen: os.stat_result,
    *,
    size: int,
    content: Content,
    blobs: tuple[bytes, ...],
    fuzzy: bool,
) -> Entry:
    return Entry(
        name=name,
        kind=Kind.FILE,
        mode=stat.S_IMODE(seen.st_mode),
        uid=seen.st_uid,
        gid=seen.st_gid,
        mtime_ns=seen.st_mtime_ns,
        size=size,
        content=content,
        blobs=blobs,
        xattrs=user_xattrs(fd),
        links=(seen.st_dev, seen.st_ino) if seen.st_nlink > 1 else None,
        fuzzy=fuzzy,
    )


def _moment(seen: os.stat_result) -> tuple[int, int, int]:
    return seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _exactly(fd: int, offset: int, length: int) -> bytes:
    """Shorter where the file ends."""
    data = os.pread(fd, length, offset)
    while len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
        data += more
    return data


def _windows(fd: int, offset: int, length: int) -> Iterator[bytes]:
    """What is there of this range; less where the file ends."""
    end = offset + length
    while offset < end and (window := os.pread(fd, min(WINDOW_BYTES, end - offset), offset)):
        offset += len(window)
        yield window


def _filled(fd: int, offset: int, length: int) -> Iterator[bytes]:
    """As `_windows`, with zeros where the file became shorter: a map of data promises its length."""
    read = 0
    for window in _windows(fd, offset, length):
        read += len(window)
        yield window
    while read < length:
        zeros = bytes(min(WINDOW_BYTES, length - read))
        read += len(zeros)
        yield zeros


def _data_spans(fd: int, seen: os.stat_result) -> list[tuple[int, int]] | None:
    """Where the data of a sparse file lies; None where no holes are worth a map, or nobody tells."""
    if seen.st_size - seen.st_blocks * 512 < _HOLE_MIN_BYTES:
        return None
    spans: list[tuple[int, int]] = []
    hole_min = 1
    at = 0
    try:
        while at < seen.st_size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as e:
                if e.errno != errno.ENXIO:
                    raise
                break  # nothing but a hole up to the end
            at = min(os.lseek(fd, begin, os.SEEK_HOLE), seen.st_size)
            if begin < at:
                _add_span(spans, begin, at, hole_min)
            if len(spans) > _SPANS_MAX:
                hole_min *= 4
                joined: list[tuple[int, int]] = []
                for offset, length in spans:
                    _add_span(joined, offset, offset + length, max(hole_min, PIECE_BYTES))
                spans = joined
    except OSError:
        return None
    return None if spans == [(0, seen.st_size)] else spans


def _add_span(spans: list[tuple[int, int]], begin: int, end: int, hole_min: int) -> None:
    if spans and begin - sum(spans[-1]) < hole_min:
        spans[-1] = (spans[-1][0], end - spans[-1][0])
    else:
        spans.append((begin, end - begin))
