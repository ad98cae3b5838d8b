"""Whether a ledger is whole: every record unchanged, in order, linked, and bound to its home.

Invariant: an edit, a move of text between fields, a re-order, an insertion or a removal is named with the seq where
it shows. A cut tail cannot show in the ledger itself: give the head that was kept elsewhere. Memory stays flat.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from holdfast.ledger import segment
from holdfast.ledger.record import BadRecord, Head, genesis

PROBLEMS_KEPT = 100  # a destroyed ledger has thousands; the first ones tell


class Problem(Struct, frozen=True, kw_only=True):
    """`seq`: the first record that cannot be trusted there."""

    seq: int
    segment: str
    offset: int
    reason: str


class Report(Struct, frozen=True, kw_only=True):
    """`ok`: nothing wrong. `torn_bytes`: a crash cut the last append; the next open sets that aside, no problem.

    `head` is the last record found. `problem_count` counts all, `problems` holds the first ones.
    """

    ok: bool
    records: int
    head: Head | None
    segments: int
    torn_bytes: int
    problem_count: int
    problems: tuple[Problem, ...]


def verify(path: Path, *, expected: Head | None = None, home_id: str | None = None) -> Report:
    """Read the whole ledger in `path` and check it. Raises OSError when a file cannot be read.

    `expected`: a head that was known; the ledger must hold exactly that record. `home_id`: the home it must
    belong to, else whatever its first header says.
    """
    check = _Check(expected, home_id)
    there = segment.numbers(path)
    for index, number in enumerate(there):
        fd = os.open(path / segment.name(number), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            check.one_segment(fd, number, last=index == len(there) - 1)
        finally:
            os.close(fd)
    return check.report(len(there))


class _Check:
    def __init__(self, expected: Head | None, home_id: str | None) -> None:
        self._expected = expected
        self._expected_met = expected is None or (expected.seq == 0)
        self._home_id = home_id
        self._head = Head(0, genesis(home_id)) if home_id is not None else None
        self._number = 0
        self._name = ""
        self._records = 0
        self._torn_bytes = 0
        self._count = 0
        self._problems: list[Problem] = []

    def one_segment(self, fd: int, number: int, *, last: bool) -> None:
        self._name = segment.name(number)
        offset = self._header(fd, number)
        self._number = number
        for piece in segment.scan(fd, offset):
            if isinstance(piece, segment.Entry):
                self._entry(piece)
            elif piece.behind or not last or segment.is_complete(fd, piece):
                self._problem(piece.offset, "this record is damaged or gone")
            else:
                self._torn_bytes = piece.end - piece.offset

    def _header(self, fd: int, number: int) -> int:
        """Check one segment's header; returns where its records begin."""
        try:
            header = segment.read_header(fd)
        except BadRecord as error:
            self._problem(0, str(error))
            return 0
        if self._home_id is None:
            self._home_id = header.home_id
            self._head = Head(0, genesis(header.home_id))
        if header.home_id != self._home_id:
            self._problem(0, f"the segment belongs to another home ({header.home_id})")
        if header.number != number or number != self._number + 1:
            self._problem(0, f"segment {self._number + 1} should stand here")
        if self._head is not None and (header.first_seq, header.previous) != (self._head.seq + 1, self._head.hash):
            self._problem(0, f"the segment continues record {header.first_seq - 1}, not the one before it")
        return header.length

    def _entry(self, entry: segment.Entry) -> None:
        record = entry.record
        self._records += 1
        if self._head is not None and record.seq != self._head.seq + 1:
            what = "records are missing before" if record.seq > self._head.seq + 1 else "out of order or twice:"
            self._problem(entry.offset, f"{what} record {record.seq}")
        elif self._head is not None and record.previous != self._head.hash:
            self._problem(entry.offset, "it does not follow from the record before it")
        self._head = record.head
        if self._expected is not None and record.seq == self._expected.seq:
            self._expected_met = record.hash == self._expected.hash

    def _problem(self, offset: int, reason: str) -> None:
        self._count += 1
        if len(self._problems) < PROBLEMS_KEPT:
            seq = self._head.seq + 1 if self._head is not None else 1
            self._problems.append(Problem(seq=seq, segment=self._name, offset=offset, reason=reason))

    def report(self, segments: int) -> Report:
        if not self._expected_met and self._expected is not None:
            self._count += 1
            found = self._head.seq if self._head is not None else 0
            reason = "the tail is cut" if found < self._expected.seq else "another record than the one that was known"
            seq = min(found + 1, self._expected.seq)
            self._problems.append(Problem(seq=seq, segment=self._name, offset=0, reason=reason))
        return Report(
            ok=self._count == 0,
            records=self._records,
            head=self._head if self._records else None,
            segments=segments,
            torn_bytes=self._torn_bytes,
            problem_count=self._count,
            problems=tuple(self._problems),
        )
