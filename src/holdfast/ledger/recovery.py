"""Where a ledger's chain ends after whatever happened to it, and what to do about a torn tail.

Invariant: reading only, except `set_aside`, which changes bytes behind the last whole record and nothing before.
Called by chain.py when a ledger is opened.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from msgspec import Struct

from holdfast import limits
from holdfast.ledger import segment
from holdfast.ledger.disk import Disk
from holdfast.ledger.record import BadRecord, Head

TORN_MAX_BYTES = 2 * limits.LEDGER_RECORD_MAX_BYTES  # a torn append is shorter; more is damage


class Found(Struct, frozen=True, kw_only=True):
    """The end of the chain. `number` 0: there is no segment. `head` None: no record is left anywhere.

    `end` is where the next record goes in that segment, `torn_end` where torn bytes behind it end. `gap` says what
    is damaged; then the segment must not be continued.
    """

    number: int = 0
    head: Head | None = None
    end: int = 0
    torn_end: int = 0
    gap: dict[str, Any] | None = None


def find_end(directory: Path) -> Found:
    """Raises OSError when the last segment cannot be read."""
    there = segment.numbers(directory)
    if not there:
        return Found()
    last = there[-1]
    fd = os.open(directory / segment.name(last), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        found = _end_of(fd, last)
    finally:
        os.close(fd)
    if found.head is None:
        return Found(number=last, head=_head_before(directory, there[:-1]), gap=found.gap)
    return found


def _end_of(fd: int, number: int) -> Found:
    """The end of one segment; head None when neither header nor records tell it."""
    gap: dict[str, Any] | None = None
    head: Head | None = None
    end = 0
    try:
        header = segment.read_header(fd)
        head, end = Head(header.first_seq - 1, header.previous), header.length
    except BadRecord as error:
        gap = _gap(number, 0, head, str(error))
    torn_end = end
    for piece in segment.scan(fd, end):
        if isinstance(piece, segment.Entry):
            head, end = piece.record.head, piece.end
            torn_end = end
        elif piece.behind or piece.end - piece.offset > TORN_MAX_BYTES:
            gap = gap or _gap(number, piece.offset, head, "bytes there are no record")
        else:
            torn_end = piece.end
    return Found(number=number, head=head, end=end, torn_end=torn_end, gap=gap)


def _gap(number: int, offset: int, before: Head | None, reason: str) -> dict[str, Any]:
    named: dict[str, Any] = {"segment": segment.name(number), "offset": offset, "reason": reason}
    if before is not None:
        named["after_seq"] = before.seq
    return named


def _head_before(directory: Path, there: list[int]) -> Head | None:
    """The last record of the newest earlier segment that has one."""
    for number in reversed(there):
        fd = os.open(directory / segment.name(number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            head = _end_of(fd, number).head
        finally:
            os.close(fd)
        if head is not None:
            return head
    return None


def set_aside(disk: Disk, path: Path, fd: int, start: int, end: int) -> None:
    """Copy the torn bytes [start, end) to NUMBER.torn-N, best effort, and make them zero in the segment.

    Zeros instead of a cut: the space stays reserved, which matters most when the disk is full. Raises OSError.
    """
    torn = os.pread(fd, end - start, start)
    with contextlib.suppress(OSError):
        aside = next(
            candidate
            for count in range(1, 1000)
            if not (candidate := path.with_name(f"{path.stem}.torn-{count}")).exists()
        )
        copy = disk.create(aside)
        try:
            disk.write(copy, torn, 0)
        finally:
            os.close(copy)
    disk.write(fd, bytes(len(torn)), start)
    disk.sync(fd)
