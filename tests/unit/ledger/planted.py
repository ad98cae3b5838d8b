"""Bugs planted on purpose. Each is a switch that changes the ledger's code; the campaign in test_ledger_planted.py must
catch every one of them, else the campaign is worth nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.ledger import chain, record, recovery, segment, verify
from holdfast.ledger.disk import Disk
from holdfast.ledger.record import Head

Plant = Callable[[pytest.MonkeyPatch], None]
PLANTED: dict[str, Plant] = {}


def planted(plant: Plant) -> Plant:
    PLANTED[plant.__name__] = plant
    return plant


@planted
def hash_omits_the_actor(patch: pytest.MonkeyPatch) -> None:
    def digest(hashed: bytes) -> bytes:
        fields = record.split_fields(hashed, record.FIELDS)
        return hashlib.sha256(b"".join(record.field(f) for f in fields[:4] + fields[5:])).digest()

    patch.setattr(record, "digest", digest)


@planted
def hash_omits_the_time(patch: pytest.MonkeyPatch) -> None:
    def digest(hashed: bytes) -> bytes:
        fields = record.split_fields(hashed, record.FIELDS)
        return hashlib.sha256(b"".join(record.field(f) for f in fields[:1] + fields[2:])).digest()

    patch.setattr(record, "digest", digest)


@planted
def hash_has_no_length_prefixes(patch: pytest.MonkeyPatch) -> None:
    def digest(hashed: bytes) -> bytes:
        return hashlib.sha256(b"".join(record.split_fields(hashed, record.FIELDS))).digest()

    patch.setattr(record, "digest", digest)


@planted
def hash_omits_the_record_before(patch: pytest.MonkeyPatch) -> None:
    real = record.payload

    def payload(*fields: Any) -> bytes:
        return real(*fields[:-1], bytes(32))

    patch.setattr(record, "payload", payload)


@planted
def verify_does_not_look_at_links(patch: pytest.MonkeyPatch) -> None:
    real = verify._Check._entry

    def entry(self: Any, found: segment.Entry) -> None:
        if self._head is not None:
            self._head = Head(self._head.seq, found.record.previous)
        real(self, found)

    patch.setattr(verify._Check, "_entry", entry)


@planted
def verify_does_not_count(patch: pytest.MonkeyPatch) -> None:
    real = verify._Check._entry

    def entry(self: Any, found: segment.Entry) -> None:
        self._head = Head(found.record.seq - 1, found.record.previous)
        real(self, found)

    patch.setattr(verify._Check, "_entry", entry)


@planted
def genesis_is_the_same_for_every_home(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(record, "genesis", lambda home_id: bytes(32))
    patch.setattr(verify, "genesis", lambda home_id: bytes(32))


@planted
def durable_does_not_sync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chain.Ledger, "sync", lambda self: True)


@planted
def a_sync_that_failed_is_believed_later(patch: pytest.MonkeyPatch) -> None:
    def sync_current(self: Any) -> None:
        self._disk.sync(self._fd)
        self._synced, self._sync_trouble = self._end, ""

    patch.setattr(chain.Ledger, "_sync_current", sync_current)


@planted
def nothing_is_reserved(patch: pytest.MonkeyPatch) -> None:
    def allocate(self: Any, fd: int, length: int) -> None:
        self._allocated = length

    patch.setattr(chain.Ledger, "_allocate", allocate)


@planted
def lost_records_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    def record_losses(self: Any, at_ns: int) -> bool:
        self.lost = 0
        return True

    patch.setattr(chain.Ledger, "_record_losses", record_losses)


@planted
def a_torn_tail_stays(patch: pytest.MonkeyPatch) -> None:
    real = recovery._end_of

    def end_of(fd: int, number: int) -> recovery.Found:
        found = real(fd, number)
        return recovery.Found(
            number=found.number, head=found.head, end=found.torn_end, torn_end=found.torn_end, gap=found.gap
        )

    patch.setattr(recovery, "_end_of", end_of)


@planted
def damage_is_taken_for_a_torn_tail(patch: pytest.MonkeyPatch) -> None:
    real = segment.scan

    def scan(fd: int, offset: int, limit: int | None = None) -> Any:
        for piece in real(fd, offset, limit):
            if isinstance(piece, segment.Damage):
                yield segment.Damage(piece.offset, piece.end, False)
                return
            yield piece

    patch.setattr(segment, "scan", scan)


@planted
def damage_leaves_no_word(patch: pytest.MonkeyPatch) -> None:
    real = chain.Ledger._resume

    def resume(self: Any, found: recovery.Found) -> None:
        if found.gap is not None:
            found = recovery.Found(number=found.number, head=found.head, end=found.end, torn_end=found.end)
        real(self, found)

    patch.setattr(chain.Ledger, "_resume", resume)


@planted
def two_may_write(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Disk, "lock", lambda self, directory: -1)


@planted
def keys_are_not_sorted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(record, "canonical_body", lambda body: json.dumps(body, separators=(",", ":")).encode())


@planted
def the_expected_head_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    real = verify._Check.__init__

    def init(self: Any, expected: Any, home_id: Any) -> None:
        real(self, None, home_id)

    patch.setattr(verify._Check, "__init__", init)


@planted
def a_new_segment_starts_a_new_chain(patch: pytest.MonkeyPatch) -> None:
    real = chain.Ledger._begin_segment

    def begin_segment(self: Any) -> None:
        self.head = Head(self.head.seq, record.genesis(self._home_id))
        real(self)

    patch.setattr(chain.Ledger, "_begin_segment", begin_segment)
