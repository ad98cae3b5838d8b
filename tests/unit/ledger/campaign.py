"""What a ledger promises, each as one function that fails when the promise does not hold.

The same functions judge the real ledger (test_ledger_chain.py, test_ledger_verify.py) and the ones with planted bugs
(test_ledger_planted.py). They call the code through its modules, so that a planted change is seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import errors, limits
from holdfast.ledger import record, segment, verify
from holdfast.ledger.chain import Ledger
from tests.harness.manual_clock import ManualClock
from tests.unit.ledger.disks import FailingSync, FullDisk, PowerCutDisk

HOME_ID = "5eed0001"
Check = Callable[[Path], None]
CHECKS: list[Check] = []


def promise(check: Check) -> Check:
    CHECKS.append(check)
    return check


def written(path: Path, count: int = 6) -> Ledger:
    """A ledger with some records, still open."""
    ledger = Ledger.open(path, ManualClock(), home_id=HOME_ID)
    for number in range(1, count + 1):
        ledger.append("restarted", f"agent-{number}", {"exit": number, "cause": "it died"}, actor="keeper")
    return ledger


@contextlib.contextmanager
def small_reserve() -> Iterator[None]:
    """Preallocating a megabyte hundreds of times takes long and shows nothing."""
    before = limits.LEDGER_RESERVE_BYTES
    limits.LEDGER_RESERVE_BYTES = 8192
    try:
        yield
    finally:
        limits.LEDGER_RESERVE_BYTES = before


def verified(path: Path, expected: record.Head | None = None) -> verify.Report:
    return verify.verify(path, expected=expected, home_id=HOME_ID)


def framed(path: Path) -> list[tuple[int, bytes]]:
    """Offset and bytes of every record in the first segment."""
    data = (path / segment.name(1)).read_bytes()
    with (path / segment.name(1)).open("rb") as file:
        return [
            (piece.offset, data[piece.offset : piece.end])
            for piece in segment.scan(file.fileno(), segment.read_header(file.fileno()).length)
            if isinstance(piece, segment.Entry)
        ]


def rewrite(path: Path, records: list[bytes]) -> None:
    """Put these bytes behind the header of the first segment."""
    file = path / segment.name(1)
    with file.open("rb") as opened:
        header = file.read_bytes()[: segment.read_header(opened.fileno()).length]
    file.write_bytes(header + b"".join(records))


@promise
def records_come_back_as_they_were(tmp: Path) -> None:
    body = {"z": [1, 2.5, None, True], "a": {"text": "é\udc80 \x00"}, "m": ""}
    with_clock = ManualClock(at=1_700_000_123.5)
    ledger = Ledger.open(tmp / "l", with_clock, home_id=HOME_ID)
    first = ledger.append("kind", "agent", body, actor="keeper")
    ledger.close()
    (back,) = Ledger.open(tmp / "l", with_clock, home_id=HOME_ID).records()
    assert (back.seq, back.kind, back.agent, back.actor, back.body) == (1, "kind", "agent", "keeper", body)
    assert back.hash == first.hash
    assert back.at == 1_700_000_123.5
    assert record.canonical_body({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()


@promise
def a_whole_ledger_verifies(tmp: Path) -> None:
    ledger = written(tmp / "l")
    report = verified(tmp / "l", ledger.head)
    assert report.ok, report.problems
    assert (report.records, report.head) == (6, ledger.head)


@promise
def any_changed_byte_shows_with_its_seq(tmp: Path) -> None:
    written(tmp / "l").close()
    file = tmp / "l" / segment.name(1)
    places = framed(tmp / "l")
    whole = file.read_bytes().rstrip(b"\0") + bytes(100)
    for number, (offset, data) in enumerate(places[:-1], start=1):
        for at in range(offset, offset + len(data)):
            changed = bytearray(whole)
            changed[at] ^= 0x41
            file.write_bytes(changed)
            report = verified(tmp / "l")
            assert not report.ok, f"byte {at} of record {number}"
            assert report.problems[0].seq == number


@promise
def the_same_fields_in_one_record_hash_differently_when_cut_elsewhere(tmp: Path) -> None:
    hashes = set()
    for kind, agent, actor in (("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ("abcd", "", "")):
        hashes.add(record.digest(record.payload(1, 0, kind, agent, actor, b"{}", bytes(32))))
    assert len(hashes) == 4


@promise
def every_field_is_in_the_hash(tmp: Path) -> None:
    fields = (1, 5, "kind", "agent", "actor", b"{}", bytes(32))
    others = (2, 6, "kinb", "agenb", "actob", b"[]", bytes(31) + b"1")
    hashes = {record.digest(record.payload(*fields))}
    for index, other in enumerate(others):
        hashes.add(record.digest(record.payload(*fields[:index], other, *fields[index + 1 :])))
    assert len(hashes) == 8


@promise
def re_ordered_removed_and_repeated_records_show(tmp: Path) -> None:
    written(tmp / "l").close()
    records = [data for _, data in framed(tmp / "l")]
    for left, right in itertools.combinations(range(6), 2):
        swapped = records.copy()
        swapped[left], swapped[right] = swapped[right], swapped[left]
        rewrite(tmp / "l", swapped)
        assert verified(tmp / "l").problems[0].seq == left + 1
    for gone in range(5):
        rewrite(tmp / "l", records[:gone] + records[gone + 1 :])
        assert verified(tmp / "l").problems[0].seq == gone + 1
    rewrite(tmp / "l", [*records[:3], *records[2:]])
    assert verified(tmp / "l").problems[0].seq == 4


@promise
def a_forged_record_with_a_good_hash_shows_by_its_link(tmp: Path) -> None:
    written(tmp / "l").close()
    records = [data for _, data in framed(tmp / "l")]
    old = record.decode(records[2])
    hashed = record.payload(3, old.at_ns, old.kind, "somebody-else", old.actor, b"{}", old.previous)
    # the hash is recomputed, as an attacker does who knows the format
    forged = record.frame(hashed, record.digest(hashed))
    rewrite(tmp / "l", [*records[:2], forged, *records[3:]])
    assert verified(tmp / "l").problems[0].seq == 4


@promise
def a_cut_tail_shows_against_the_head_that_was_kept(tmp: Path) -> None:
    ledger = written(tmp / "l")
    ledger.close()
    records = [data for _, data in framed(tmp / "l")]
    rewrite(tmp / "l", records[:4])
    assert verified(tmp / "l").ok
    report = verified(tmp / "l", ledger.head)
    assert not report.ok
    assert report.problems[0].seq == 5


@promise
def the_chain_of_another_home_is_refused(tmp: Path) -> None:
    written(tmp / "l").close()
    assert not verify.verify(tmp / "l", home_id="another0").ok
    assert record.genesis("a") != record.genesis("b")


@promise
def durable_records_outlive_a_power_cut(tmp: Path) -> None:
    disk = PowerCutDisk()
    ledger = Ledger.open(tmp / "l", ManualClock(), home_id=HOME_ID, disk=disk)
    ledger.append("plain", "a", {}, actor="keeper")
    assert ledger.append("intent", "a", {}, actor="keeper", durable=True).durable
    ledger.append("plain", "a", {}, actor="keeper")
    ledger.close()
    disk.cut(tmp / "l")
    again = Ledger.open(tmp / "l", ManualClock(), home_id=HOME_ID)
    assert [kept.kind for kept in again.records()][:2] == ["plain", "intent"]
    assert verified(tmp / "l").ok


@promise
def a_failed_sync_is_told_and_made_good(tmp: Path) -> None:
    disk = FailingSync()
    ledger = Ledger.open(tmp / "l", ManualClock(), home_id=HOME_ID, disk=disk)
    disk.failing = True
    told = ledger.append("intent", "a", {}, actor="keeper", durable=True)
    assert (told.stored, told.durable) == (True, False)
    assert ledger.degraded
    writes: list[tuple[int, int]] = []
    plain_write = disk.write
    disk.write = lambda fd, data, offset: (writes.append((offset, len(data))), plain_write(fd, data, offset))[1]  # type: ignore[method-assign]
    disk.failing = False
    assert ledger.sync()
    assert len(writes) == 1, "the record whose sync failed must be written again"
    assert not ledger.degraded


@promise
def a_full_disk_takes_the_reserve_and_then_counts(tmp: Path) -> None:
    disk, clock = FullDisk(), ManualClock()
    ledger = Ledger.open(tmp / "l", clock, home_id=HOME_ID, disk=disk)
    disk.full = True
    body = {"text": "x" * 10_000}
    kept = 0
    while (added := ledger.append("heal", "a", body, actor="keeper")).stored:
        kept += 1
        clock.advance(0.25)
        assert kept < 1000
    assert kept * 10_000 >= limits.LEDGER_RESERVE_BYTES, "the reserve was not there"
    assert added.lost == 1
    assert ledger.degraded == "No space left on device"
    assert ledger.append("heal", "a", body, actor="keeper").lost == 2
    disk.full = False
    clock.advance(2.0)
    after = ledger.append("heal", "a", {}, actor="keeper")
    assert (after.stored, after.seq, ledger.degraded, ledger.lost) == (True, kept + 2, "", 0)
    told = next(found for found in ledger.records(after=kept))
    assert (told.kind, told.body["records"]) == ("lost", 2)
    assert verified(tmp / "l", ledger.head).ok


@promise
def a_crash_at_any_byte_loses_no_earlier_record(tmp: Path) -> None:
    with small_reserve():
        written(tmp / "whole", 3).close()
        whole = (tmp / "whole" / segment.name(1)).read_bytes()
        places = framed(tmp / "whole")
        ends = [offset + len(data) for offset, data in places]
        for cut in range(places[0][0], ends[-1] + 1):
            path = tmp / "cut"
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            # the file ends there, or goes on with the zeros of preallocated space
            (path / segment.name(1)).write_bytes(whole[:cut] + bytes(64 * (cut % 2)))
            kept = sum(end <= cut for end in ends)
            ledger = Ledger.open(path, ManualClock(), home_id=HOME_ID)
            assert ledger.head.seq == kept, f"cut at {cut}"
            assert ledger.append("next", "", {}, actor="keeper").seq == kept + 1
            report = verified(path, ledger.head)
            assert report.ok, (cut, report.problems)
            torn = cut not in ends and cut != places[0][0]
            assert len(list(path.glob("000001.torn-*"))) == int(torn)
            ledger.close()


@promise
def damage_in_the_middle_is_walked_around_and_named(tmp: Path) -> None:
    written(tmp / "whole").close()
    whole = (tmp / "whole" / segment.name(1)).read_bytes()
    for number, (offset, data) in enumerate(framed(tmp / "whole")[:-1], start=1):
        for at in (offset, offset + 5, offset + len(data) // 2, offset + len(data) - 1):
            path = tmp / "bad"
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            changed = bytearray(whole)
            changed[at] ^= 0xFF
            (path / segment.name(1)).write_bytes(changed)
            ledger = Ledger.open(path, ManualClock(), home_id=HOME_ID)
            assert ledger.head.seq == 7
            assert ledger.append("next", "", {}, actor="keeper").seq == 8
            kept = {found.seq: found for found in ledger.records()}
            assert sorted(kept) == [seq for seq in range(1, 9) if seq != number]
            assert kept[7].kind == "gap"
            assert kept[7].body["segment"] == "000001.hfl"
            assert kept[7].body["after_seq"] == number - 1
            report = verified(path, ledger.head)
            assert report.problems[0].seq == number
            ledger.close()


@promise
def one_writer_only(tmp: Path) -> None:
    ledger = written(tmp / "l")
    with pytest.raises(errors.HoldfastError) as caught:
        Ledger.open(tmp / "l", ManualClock(), home_id=HOME_ID)
    assert caught.value.kind is errors.LEDGER_IN_USE
    ledger.close()
    assert written(tmp / "l").head.seq == 12


@promise
def the_chain_runs_through_segments(tmp: Path) -> None:
    before = limits.LEDGER_SEGMENT_BYTES
    limits.LEDGER_SEGMENT_BYTES = 2000
    try:
        ledger = written(tmp / "l", 30)
        assert len(segment.numbers(tmp / "l")) > 3
        assert [found.seq for found in ledger.records()] == list(range(1, 31))
        assert [found.seq for found in ledger.records(after=17)] == list(range(18, 31))
        assert verified(tmp / "l", ledger.head).ok
        ledger.close()
        ledger = Ledger.open(tmp / "l", ManualClock(), home_id=HOME_ID)
        assert [found.seq for found in ledger.records(after=17)] == list(range(18, 31))
        assert ledger.append("next", "", {}, actor="keeper").seq == 31
        assert verified(tmp / "l", ledger.head).ok
        ledger.close()
        (tmp / "l" / segment.name(2)).unlink()
        assert not verified(tmp / "l", ledger.head).ok
    finally:
        limits.LEDGER_SEGMENT_BYTES = before


@promise
def the_hash_is_the_one_in_the_format(tmp: Path) -> None:
    def field(content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + content

    first = next(iter(written(tmp / "l", 1).records()))
    previous = hashlib.sha256(field(b"holdfast ledger genesis 1") + field(HOME_ID.encode())).digest()
    fields = [(1).to_bytes(8, "big"), first.at_ns.to_bytes(8, "big"), b"restarted", b"agent-1", b"keeper"]
    fields += [b'{"cause":"it died","exit":1}', previous]
    content = field(b"holdfast ledger record 1") + b"".join(field(one) for one in fields)
    assert first.hash == hashlib.sha256(content).digest()
