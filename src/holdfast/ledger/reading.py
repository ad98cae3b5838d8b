"""Reading a ledger without writing it: for the API, the command line, and rebuilding the keeper's store.

Invariant: only records whose own hash fits are handed out; whether the chain holds is verify.py's question.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from holdfast.ledger import segment
from holdfast.ledger.record import BadRecord, Record


def read(
    path: Path, after: int = 0, *, start: tuple[int, int] | None = None, ends: Mapping[int, int] | None = None
) -> Iterator[Record]:
    """Records with seq > `after` in order, streaming.

    `start`: segment number and offset of a record not behind the first one wanted. `ends` bounds segments that are
    being written. A missing ledger has no records. Raises OSError when a segment cannot be read.
    """
    there = _from_segment(path, after) if start is None else [n for n in segment.numbers(path) if n >= start[0]]
    for number in there:
        fd = os.open(path / segment.name(number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            offset = start[1] if start is not None and number == start[0] else _first_offset(fd)
            for piece in segment.scan(fd, offset, (ends or {}).get(number)):
                if isinstance(piece, segment.Entry) and piece.record.seq > after:
                    yield piece.record
        finally:
            os.close(fd)


def _first_offset(fd: int) -> int:
    try:
        return segment.read_header(fd).length
    except BadRecord:
        return 0


def _from_segment(path: Path, after: int) -> list[int]:
    """The segments that can hold records behind `after`."""
    there = segment.numbers(path)
    for index in range(len(there) - 1, 0, -1):
        fd = os.open(path / segment.name(there[index]), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if segment.read_header(fd).first_seq <= after + 1:
                return there[index:]
        except BadRecord:
            continue
        finally:
            os.close(fd)
    return there
