"""The first hundred bytes of an SQLite database: whether a file is one, its page size and how it journals.

Pure. Strict on purpose: what does not hold to the file format to the letter is kept as a plain file, which is always
right; only being recognised wrongly would cost something. Called by sqlite_image.py, database.py and the walk.
Source of the fields: the published description of SQLite's database file format.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER_BYTES = 100
MAGIC = b"SQLite format 3\x00"
LOCK_PAGE_OFFSET = 0x4000_0000  # the page here is used for locks alone and holds no data
_FIELDS = struct.Struct(">16sHBBBBBBII")
_ROLLBACK, _WAL = 1, 2
_FRACTIONS = (64, 32, 32)
_PAGE_USABLE_MIN_BYTES = 480


class Header(NamedTuple):
    """What of it concerns a copy."""

    page_size: int
    wal: bool  # journals ahead of the database (WAL); else by a rollback journal


def parse(first: bytes) -> Header | None:
    """From the first HEADER_BYTES of a file; None when it is no database (encrypted ones are not told apart)."""
    if len(first) < HEADER_BYTES or not first.startswith(MAGIC):
        return None
    _, size, writes, reads, reserved, most, least, leaf, _, _ = _FIELDS.unpack_from(first)
    page_size = 65_536 if size == 1 else size
    if page_size < 512 or page_size & (page_size - 1) or (most, least, leaf) != _FRACTIONS:
        return None
    if writes not in (_ROLLBACK, _WAL) or reads not in (_ROLLBACK, _WAL):
        return None
    if page_size - reserved < _PAGE_USABLE_MIN_BYTES:
        return None
    return Header(page_size, wal=writes == _WAL)


def is_database(first: bytes) -> bool:
    return parse(first) is not None
