"""A rotated log file in compressed form: `old-NUMBER.zst`, larger numbers are newer. Format: docs/formats/logs.md.

Invariants: an archive appears whole or not at all; it carries the times of its lines and the identity of the file it
was made from, so that a reader that meets both knows them as one; any stretch of it is read by decoding the frames
that hold it and no other. `zstd -d` reads it too. Written by archivist.py, read by pieces.py.
"""

from __future__ import annotations

import errno
import os
import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

PREFIX, SUFFIX, PARTIAL = "old-", ".zst", ".partial"
LEVEL = 1  # a third cheaper than the usual 3 and hardly larger on logs (ratio 3.4 against 3.55 measured)
FRAME_BYTES = 512 * 1024
MAGIC_ABOUT = 0x184D2A50  # skippable frames: zstd passes over them
MAGIC_TABLE = 0x184D2A5E
MAGIC_SEEKABLE = 0x8F92EAB1
SKIPPABLE = struct.Struct("<II")  # magic, length of what follows
ABOUT = struct.Struct("<4sHHQQQ")  # magic, version, zero, then inode, length and mtime (ns) of the source
ENTRY = struct.Struct("<II")  # compressed and original length of one frame
FOOTER = struct.Struct("<IBI")  # number of entries, flags, magic
NAME = b"HFLA"
VERSION = 1
TIMES_MAX_BYTES = 64 * 1024 * 1024


class Damaged(OSError):
    """What is called an archive is none, or not whole."""


class Identity(NamedTuple):
    """Tells a file that is not written any more from all others of its directory."""

    inode: int
    size: int
    mtime_ns: int


def identity_of(fd: int) -> Identity:
    status = os.fstat(fd)
    return Identity(status.st_ino, status.st_size, status.st_mtime_ns)


def numbers(directory: str) -> list[int]:
    """The archives of an agent, oldest first; none in a missing directory."""
    try:
        entries = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [
        e.removeprefix(PREFIX).removesuffix(SUFFIX) for e in entries if e.startswith(PREFIX) and e.endswith(SUFFIX)
    ]
    return sorted(int(number) for number in found if number.isascii() and number.isdigit())


def path_of(directory: str, number: int) -> str:
    return os.path.join(directory, f"{PREFIX}{number:08d}{SUFFIX}")


def _nothing(step: str) -> None:
    """Takes the place of a test that dies here."""


def write(source: int, times: bytes, path: str, step: Callable[[str], None] = _nothing) -> int:
    """Compress all of the open file `source` into `path`. Returns the bytes of the archive.

    `times`: records of its index. Durable when this returns. Raises OSError; nothing is left under `path` then.
    """
    import zstandard

    identity = identity_of(source)
    about = ABOUT.pack(NAME, VERSION, 0, *identity) + times[:TIMES_MAX_BYTES]
    partial = path + PARTIAL
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
    step("begin")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            _write_all(fd, SKIPPABLE.pack(MAGIC_ABOUT, len(about)) + about)
            entries = [ENTRY.pack(SKIPPABLE.size + len(about), 0)]
            offset = 0
            while offset < identity.size:
                plain = os.pread(source, min(FRAME_BYTES, identity.size - offset), offset)
                if not plain:
                    raise OSError(errno.EIO, "the log became shorter while it was read")
                frame = compressor.compress(plain)
                _write_all(fd, frame)
                entries.append(ENTRY.pack(len(frame), len(plain)))
                offset += len(plain)
                step("frame")
            table = b"".join(entries) + FOOTER.pack(len(entries), 0, MAGIC_SEEKABLE)
            _write_all(fd, SKIPPABLE.pack(MAGIC_TABLE, len(table)) + table)
            step("written")
            os.fsync(fd)
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        step("synced")
        os.rename(partial, path)
        step("renamed")
    except OSError:
        _unlink(partial)
        raise
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    step("durable")
    return size


class Archive:
    """One open archive. Raises OSError when it is none, or damaged where it is read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            magic, length = SKIPPABLE.unpack(self._exactly(SKIPPABLE.size, 0))
            if magic != MAGIC_ABOUT or length < ABOUT.size:
                raise _damaged(path)
            name, version, _, *identity = ABOUT.unpack(self._exactly(ABOUT.size, SKIPPABLE.size))
            if name != NAME or version != VERSION:
                raise _damaged(path)
            self.identity = Identity(*identity)
            self._times_bytes = (length - ABOUT.size) // 16 * 16
            self._read_table()
        except OSError:
            os.close(self.fd)
            raise
        self._frame = -1
        self._plain = b""

    @property
    def size(self) -> int:
        """Bytes of the log it holds."""
        return self._plain_starts[-1]

    def times(self) -> bytes:
        """The records of the index, as they were."""
        return self._exactly(self._times_bytes, SKIPPABLE.size + ABOUT.size)

    def read(self, count: int, offset: int) -> bytes:
        """Up to `count` bytes of the log from `offset`, from one frame; empty at the end."""
        if offset >= self.size or count <= 0:
            return b""
        frame = bisect_right(self._plain_starts, offset) - 1
        if frame != self._frame:
            self._plain, self._frame = self._decode(frame), frame
        start = offset - self._plain_starts[frame]
        return self._plain[start : start + count]

    def close(self) -> None:
        """Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _decode(self, frame: int) -> bytes:
        import zstandard

        length = self._plain_starts[frame + 1] - self._plain_starts[frame]
        packed = self._exactly(self._packed_starts[frame + 1] - self._packed_starts[frame], self._packed_starts[frame])
        try:
            plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=length)
        except zstandard.ZstdError as error:
            raise _damaged(self.path) from error
        if len(plain) != length:
            raise _damaged(self.path)
        return plain

    def _read_table(self) -> None:
        end = os.fstat(self.fd).st_size
        count, _, magic = FOOTER.unpack(self._exactly(FOOTER.size, end - FOOTER.size))
        start = end - FOOTER.size - count * ENTRY.size
        if magic != MAGIC_SEEKABLE or start < SKIPPABLE.size or count < 1:
            raise _damaged(self.path)
        self._plain_starts, self._packed_starts = [0], [0]
        for packed, plain in ENTRY.iter_unpack(self._exactly(count * ENTRY.size, start)):
            if plain:
                self._plain_starts.append(self._plain_starts[-1] + plain)
                self._packed_starts.append(self._packed_starts[-1] + packed)
            else:  # what stands before the first frame
                self._packed_starts[-1] += packed
        if self._packed_starts[-1] > start:
            raise _damaged(self.path)

    def _exactly(self, count: int, offset: int) -> bytes:
        data = os.pread(self.fd, count, offset) if offset >= 0 else b""
        if len(data) != count:
            raise _damaged(self.path)
        return data


def _damaged(path: str) -> Damaged:
    return Damaged(errno.EIO, "the archive is damaged", path)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
