"""SQLite's rollback journal: the pages as they were before a transaction that did not come to its end.

A journal is *hot* when its writer died, or stands still, after it began to change the database: the content of the
database is then the file with these pages put back, and cut to its former size. Putting back pages that were not yet
changed does nothing. Nothing here writes. Called by database.py.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
HEADER_BYTES = 28
_HEADER = struct.Struct(">8sIIIII")
_TO_THE_END = 0xFFFF_FFFF  # as a number of records: written without syncing
_SECTOR_MAX_BYTES = 65_536
_NAME_MAX_BYTES = 4_096
_CHECKED_EVERY_BYTES = 200
_LOCK_PAGE_OFFSET = 0x4000_0000


class Undo(NamedTuple):
    """What a journal puts back."""

    page_size: int
    pages: int  # of the database before the transaction
    offsets: dict[int, int]  # page number -> where in the journal its former content begins


def read(journal_fd: int) -> Undo | None:
    """None: empty, finished or never synced: there is nothing to put back."""
    size = os.fstat(journal_fd).st_size
    offset, sector, undo, nonce = 0, 512, None, 0
    while len(head := os.pread(journal_fd, HEADER_BYTES, offset)) == HEADER_BYTES:
        magic, records, nonce, pages, told_sector, told_page_size = _HEADER.unpack(head)
        if magic != MAGIC:
            break
        if undo is None:  # sizes count in the first header alone
            if not _is_size(told_sector, 32, _SECTOR_MAX_BYTES) or not _is_size(told_page_size, 512, 65_536):
                return None
            sector, undo = told_sector, Undo(told_page_size, pages, {})
        offset += sector
        step = undo.page_size + 8
        if records == _TO_THE_END:
            records = max(0, (size - offset) // step)
        if not _put_back(journal_fd, offset, records, nonce, undo):
            break
        offset = -(-(offset + records * step) // sector) * sector
    return undo


def _put_back(journal_fd: int, offset: int, records: int, nonce: int, undo: Undo) -> bool:
    """Take in the records of one segment; False where the journal ends."""
    step = undo.page_size + 8
    lock_page = _LOCK_PAGE_OFFSET // undo.page_size + 1
    for start in range(offset, offset + records * step, step):
        record = os.pread(journal_fd, step, start)
        if len(record) < step:
            return False
        page, told = int.from_bytes(record[:4], "big"), int.from_bytes(record[-4:], "big")
        if page in (0, lock_page):
            return False
        if (nonce + sum(_checked(record[4:-4]))) & 0xFFFF_FFFF != told:
            return False
        if page <= undo.pages:
            undo.offsets.setdefault(page, start + 4)
    return True


def _checked(content: bytes) -> bytes:
    """The bytes that the checksum counts: every 200th, from the end, but for the very first."""
    return content[len(content) - _CHECKED_EVERY_BYTES : 0 : -_CHECKED_EVERY_BYTES]


def _is_size(size: int, least: int, most: int) -> bool:
    return least <= size <= most and size & (size - 1) == 0


def leader(journal_fd: int) -> bytes:
    """The name of the journal that leads a transaction over several databases; empty without one.

    Where it is named but gone, the transaction was committed, and this journal puts nothing back.
    """
    size = os.fstat(journal_fd).st_size
    tail = os.pread(journal_fd, 16, size - 16) if size > 16 else b""
    if len(tail) < 16 or tail[8:] != MAGIC:
        return b""
    length, told = struct.unpack(">II", tail[:8])
    if not 0 < length <= min(_NAME_MAX_BYTES, size - 16):
        return b""
    name = os.pread(journal_fd, length, size - 16 - length)
    return name if sum(name) & 0xFFFF_FFFF == told and b"\0" not in name else b""
