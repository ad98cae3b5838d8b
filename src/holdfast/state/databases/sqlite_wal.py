"""SQLite's write-ahead log and its index in shared memory: which frame holds the newest committed copy of a page.

Two ways to know. `scan` believes nothing but the log itself: salts, and the checksum that runs through all frames; it
is exact and costs some 50 us a page, for a log that nobody has open. `sample` and `page_numbers` read the index that
the connections share (`-shm`), which SQLite itself goes by; they are right only while a read transaction is held
(guard.py), and cost next to nothing. Nothing here writes or locks. Called by database.py.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from array import array
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
_MAGIC_LITTLE, _MAGIC_BIG = 0x377F_0682, 0x377F_0683  # the byte order that checksums are counted in
_VERSION = 3_007_000
_HEADER = struct.Struct(">IIII8sII")
_FRAME = struct.Struct(">II8sII")
_READ_AHEAD_BYTES = 1_048_576

# The index: two copies of a header, then how far checkpoints came, then blocks of page numbers and hash tables.
_INDEX_VERSION = 3_007_000
_INDEX_HEADER = struct.Struct("=IIIBBHIIII8sII")
_INDEX_COPY_BYTES = 48
_INDEX_SUM_BYTES = 40
_BACKFILL_OFFSET = 96
_BLOCK_BYTES = 32_768
_FIRST_NUMBERS_OFFSET, _FIRST_NUMBERS = 136, 4_062
_NUMBERS = 4_096
_SAMPLE_TRIES = 20
_SAMPLE_WAIT_S = 0.1

Offsets = dict[int, int]  # page number -> where in the log its content begins


class Log(NamedTuple):
    """A log's committed content."""

    page_size: int
    salts: bytes  # of this generation; 8 bytes
    frames: int  # up to the last commit
    pages: int  # of the database, after it
    newest: Offsets
    seal: bytes  # checksum of the last frame, which vouches for all before it; empty without frames


class Sample(NamedTuple):
    """The index at one moment."""

    page_size: int
    salts: bytes
    frames: int
    pages: int
    backfilled: int  # frames that are in the database file as well, all of them synced


def checksum(data: bytes | memoryview, before: tuple[int, int], big: bool) -> tuple[int, int]:
    """SQLite's checksum of `data` (a multiple of 8 bytes), going on from `before`."""
    words = array("I", bytes(data))
    if big != (sys.byteorder == "big"):
        words.byteswap()
    one, two = before
    pairs = iter(words)
    for first, second in zip(pairs, pairs, strict=True):
        one = (one + first + two) & 0xFFFF_FFFF
        two = (two + second + one) & 0xFFFF_FFFF
    return one, two


# --- from the log alone ----------------------------------------------------------------------------------------------
def scan(log_fd: int) -> Log | None:
    """What of the log is committed, each frame checked. None: no log, or a header that is not whole."""
    head = os.pread(log_fd, HEADER_BYTES, 0)
    if len(head) < HEADER_BYTES:
        return None
    magic, version, page_size, _, salts, one, two = _HEADER.unpack(head)
    if magic not in (_MAGIC_LITTLE, _MAGIC_BIG) or version != _VERSION or not _is_page_size(page_size):
        return None
    big = magic == _MAGIC_BIG
    running = checksum(head[:24], (0, 0), big)
    if running != (one, two):
        return None
    found = Log(page_size, salts, 0, 0, {}, b"")
    newest: Offsets = {}
    pending: Offsets = {}
    for number, (offset, frame) in enumerate(_frames(log_fd, page_size), 1):
        page, pages, frame_salts, one, two = _FRAME.unpack_from(frame)
        if frame_salts != salts or page == 0:
            break
        running = checksum(frame[FRAME_HEADER_BYTES:], checksum(frame[:8], running, big), big)
        if running != (one, two):
            break
        pending[page] = offset + FRAME_HEADER_BYTES
        if pages:
            newest |= pending
            pending.clear()
            found = Log(page_size, salts, number, pages, newest, bytes(frame[16:24]))
    return found


def _frames(log_fd: int, page_size: int) -> Iterator[tuple[int, memoryview]]:
    """Whole frames in order, with where they begin."""
    size = FRAME_HEADER_BYTES + page_size
    at_once = max(1, _READ_AHEAD_BYTES // size) * size
    offset = HEADER_BYTES
    while block := memoryview(os.pread(log_fd, at_once, offset)):
        for start in range(0, len(block) - size + 1, size):
            yield offset + start, block[start : start + size]
        if len(block) < at_once:
            return
        offset += at_once


def _is_page_size(size: int) -> bool:
    return 512 <= size <= 65_536 and size & (size - 1) == 0


# --- from the shared index, under a read transaction -----------------------------------------------------------------
def sample(index_fd: int) -> Sample | None:
    """The index now; None when it is not whole (or being rewritten for as long as we looked).

    How far checkpoints came is read before and after: should the log begin anew between, what came from the former log
    would be taken for a statement about the new one.
    """
    deadline_mono = time.monotonic() + _SAMPLE_WAIT_S
    for number in count():
        if number > _SAMPLE_TRIES:
            if time.monotonic() > deadline_mono:
                return None
            time.sleep(0.0005)  # whoever writes it now is waiting for a processor
        backfilled = os.pread(index_fd, 4, _BACKFILL_OFFSET)
        head = os.pread(index_fd, 2 * _INDEX_COPY_BYTES, 0)
        first = head[:_INDEX_COPY_BYTES]
        if len(head) < 2 * _INDEX_COPY_BYTES or len(backfilled) < 4:
            return None
        if first != head[_INDEX_COPY_BYTES:] or os.pread(index_fd, 4, _BACKFILL_OFFSET) != backfilled:
            continue
        version, _, _, ready, _, size, frames, pages, _, _, salts, one, two = _INDEX_HEADER.unpack(first)
        if not ready or version != _INDEX_VERSION:
            return None
        if checksum(first[:_INDEX_SUM_BYTES], (0, 0), sys.byteorder == "big") != (one, two):
            continue
        page_size = (size & 0xFE00) | ((size & 1) << 16)
        done = int.from_bytes(backfilled, sys.byteorder)
        return Sample(page_size, salts, frames, pages, done) if _is_page_size(page_size) else None
    raise AssertionError("counting has no end")


def page_numbers(index_fd: int, now: Sample) -> array[int] | None:
    """Which page each frame holds, in order. None: the index is shorter than it says."""
    numbers = array("I")
    wanted, offset, held, block = now.frames, _FIRST_NUMBERS_OFFSET, _FIRST_NUMBERS, 0
    while wanted > 0:
        length = min(wanted, held) * 4
        data = os.pread(index_fd, length, offset)
        if len(data) < length:
            return None
        numbers.frombytes(data)
        wanted -= min(wanted, held)
        block += 1
        offset, held = block * _BLOCK_BYTES, _NUMBERS
    return numbers


def newest(numbers: array[int], page_size: int) -> Offsets:
    """For each page the place of its last copy: later frames take the place of former ones."""
    step, first = FRAME_HEADER_BYTES + page_size, HEADER_BYTES + FRAME_HEADER_BYTES
    return dict(zip(numbers, range(first, first + step * len(numbers), step), strict=True))


def seal(log_fd: int, page_size: int, frame: int) -> bytes:
    """The checksum of a frame, counted from 1, which vouches for all frames before it."""
    return os.pread(log_fd, 8, HEADER_BYTES + (frame - 1) * (FRAME_HEADER_BYTES + page_size) + 16) if frame else b""


def is_frame(head: bytes, page: int, salts: bytes) -> bool:
    """Whether these FRAME_HEADER_BYTES stand before that page, in that generation of the log."""
    return head[:4] == page.to_bytes(4, "big") and head[8:16] == salts
