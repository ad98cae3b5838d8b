"""Segment files of the ledger: their header, their listing, and reading through damage.

Invariant: `scan` never yields a record whose hash does not fit, and never overlooks a whole record behind damage.
Memory stays below a few record sizes whatever the file holds. Called by chain.py and verify.py.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from holdfast.ledger.record import (
    HASH_BYTES,
    PREFIX_BYTES,
    RECORD_MAGIC,
    VERSION,
    BadRecord,
    Record,
    decode,
    field,
    framed_length,
    split_fields,
)

SEGMENT_MAGIC = b"\xffHFLSEG\n"
SUFFIX = ".hfl"
HEADER_DOMAIN = b"holdfast ledger segment 1"
HEADER_MAX_BYTES = 4096  # a header is about 150 bytes; more is another file
READ_BYTES = 256 * 1024

_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


class Header(Struct, frozen=True, kw_only=True):
    """What a segment continues. `length` is its own size in bytes."""

    home_id: str
    number: int
    first_seq: int
    previous: bytes
    length: int = 0


class Entry(Struct, frozen=True):
    """A whole record and where it stands."""

    record: Record
    offset: int
    end: int


class Damage(Struct, frozen=True):
    """Bytes that are no record. `behind` True: a whole record follows; False: nothing does (a torn tail)."""

    offset: int
    end: int
    behind: bool


def name(number: int) -> str:
    return f"{number:06d}{SUFFIX}"


def numbers(directory: Path) -> list[int]:
    """Numbers of the segments there, ascending. A missing directory has none."""
    try:
        found = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(int(entry[: -len(SUFFIX)]) for entry in found if _is_segment(entry))


def _is_segment(entry: str) -> bool:
    stem = entry[: -len(SUFFIX)]
    return entry.endswith(SUFFIX) and stem.isascii() and stem.isdigit() and name(int(stem)) == entry


def encode_header(header: Header) -> bytes:
    content = b"".join(
        (
            field(_U16.pack(VERSION)),
            field(header.home_id.encode()),
            field(_U64.pack(header.number)),
            field(_U64.pack(header.first_seq)),
            field(header.previous),
        )
    )
    return SEGMENT_MAGIC + _U32.pack(len(content)) + content + _header_digest(content)


def _header_digest(content: bytes) -> bytes:
    return hashlib.sha256(field(HEADER_DOMAIN) + content).digest()


def read_header(fd: int) -> Header:
    """Raises BadRecord when the header is missing, changed, or of another version."""
    raw = os.pread(fd, HEADER_MAX_BYTES, 0)
    if not raw.startswith(SEGMENT_MAGIC) or len(raw) < len(SEGMENT_MAGIC) + 4:
        raise BadRecord("no segment header")
    (length,) = _U32.unpack_from(raw, len(SEGMENT_MAGIC))
    start = len(SEGMENT_MAGIC) + 4
    content, hash_ = raw[start : start + length], raw[start + length : start + length + HASH_BYTES]
    if len(hash_) != HASH_BYTES or _header_digest(content) != hash_:
        raise BadRecord("the segment header was changed")
    version, home_id, number, first_seq, previous = split_fields(content, 5)
    try:
        if _U16.unpack(version)[0] != VERSION:
            raise BadRecord(f"format version {_U16.unpack(version)[0]} is not known here")
        return Header(
            home_id=home_id.decode(),
            number=_U64.unpack(number)[0],
            first_seq=_U64.unpack(first_seq)[0],
            previous=previous,
            length=start + length + HASH_BYTES,
        )
    except (ValueError, struct.error) as error:
        raise BadRecord("the segment header is malformed") from error


def scan(fd: int, offset: int, limit: int | None = None) -> Iterator[Entry | Damage]:
    """Every record from `offset` to `limit` (else the end of what was written), damage in between named."""
    window = _Window(fd, limit)
    while True:
        found = _entry_at(window, offset)
        if found is None:
            following = _next_entry(window, offset + 1)
            if following is None:
                end = _written_end(window, offset)
                if end > offset:
                    yield Damage(offset, end, False)
                return
            yield Damage(offset, following.offset, True)
            found = following
        yield found
        offset = found.end


def is_complete(fd: int, damage: Damage) -> bool:
    """Whether damaged bytes at the end were once written whole: then they were changed, not torn."""
    try:
        length = framed_length(os.pread(fd, PREFIX_BYTES, damage.offset))
    except BadRecord:
        return False
    return damage.end > damage.offset + length - 4  # one of the last four bytes of a hash is not zero


def _entry_at(window: _Window, offset: int) -> Entry | None:
    try:
        length = framed_length(window.at(offset, PREFIX_BYTES))
        return Entry(decode(window.at(offset, length)), offset, offset + length)
    except BadRecord:
        return None


def _next_entry(window: _Window, offset: int) -> Entry | None:
    """The first whole record at or after `offset`."""
    while True:
        chunk = window.at(offset, READ_BYTES)
        if len(chunk) < PREFIX_BYTES:
            return None
        at = chunk.find(RECORD_MAGIC)
        while at >= 0:
            entry = _entry_at(window, offset + at)
            if entry is not None:
                return entry
            at = chunk.find(RECORD_MAGIC, at + 1)
        offset += len(chunk) - len(RECORD_MAGIC) + 1


def _written_end(window: _Window, offset: int) -> int:
    """Where the last byte that is not zero ends: behind it lies only preallocated space."""
    end = offset
    while chunk := window.at(offset, READ_BYTES):
        kept = len(chunk.rstrip(b"\0"))
        if kept:
            end = offset + kept
        offset += len(chunk)
    return end


class _Window:
    """Reads a file by offset through one buffer."""

    def __init__(self, fd: int, limit: int | None) -> None:
        self._fd = fd
        self._limit = limit
        self._start = 0
        self._buffer = b""

    def at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes; fewer only at the end."""
        if self._limit is not None:
            count = max(0, min(count, self._limit - offset))
        inside = offset - self._start
        if inside < 0 or inside + count > len(self._buffer):
            self._buffer = os.pread(self._fd, max(count, READ_BYTES), offset)
            self._start, inside = offset, 0
        return self._buffer[inside : inside + count]
