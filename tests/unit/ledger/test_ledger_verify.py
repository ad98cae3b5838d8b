"""What verify says of ledgers that were tampered with, beyond campaign.py."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from holdfast.ledger import record, segment
from holdfast.ledger.chain import Ledger
from tests.harness.manual_clock import ManualClock
from tests.unit.ledger.campaign import HOME_ID, framed, rewrite, verified, written


def test_an_empty_place_is_a_whole_ledger_unless_a_head_was_known(tmp_path: Path) -> None:
    assert verified(tmp_path).ok
    report = verified(tmp_path, record.Head(3, bytes(32)))
    assert [(problem.seq, problem.reason) for problem in report.problems] == [(1, "the tail is cut")]


def test_a_ledger_that_went_on_behind_the_known_head_is_whole(tmp_path: Path) -> None:
    ledger = written(tmp_path / "l")
    known = ledger.head
    ledger.append("next", "", {}, actor="keeper")
    assert verified(tmp_path / "l", known).ok


def test_a_chain_hashed_anew_shows_against_the_known_head(tmp_path: Path) -> None:
    known = written(tmp_path / "l").head
    other = Ledger.open(tmp_path / "other", ManualClock(), home_id=HOME_ID)
    for _ in range(9):
        other.append("restarted", "agent", {}, actor="keeper")
    assert verified(tmp_path / "other").ok
    report = verified(tmp_path / "other", known)
    assert not report.ok
    assert report.problems[0].seq == 6


def test_an_edit_of_the_very_last_record_is_no_torn_tail(tmp_path: Path) -> None:
    written(tmp_path / "l").close()
    records = [data for _, data in framed(tmp_path / "l")]
    last = bytearray(records[-1])
    last[60] ^= 1
    rewrite(tmp_path / "l", [*records[:-1], bytes(last)])
    assert [problem.seq for problem in verified(tmp_path / "l").problems] == [6]


def test_a_torn_tail_is_told_and_no_problem(tmp_path: Path) -> None:
    written(tmp_path / "l").close()
    records = [data for _, data in framed(tmp_path / "l")]
    rewrite(tmp_path / "l", [*records[:-1], records[-1][:50]])
    report = verified(tmp_path / "l")
    assert (report.ok, report.torn_bytes, report.records) == (True, 50, 5)


def test_a_segment_of_another_home_shows(tmp_path: Path) -> None:
    written(tmp_path / "l").close()
    Ledger.open(tmp_path / "other", ManualClock(), home_id="another0").close()
    (tmp_path / "other" / segment.name(1)).rename(tmp_path / "l" / segment.name(2))
    assert "another home" in verified(tmp_path / "l").problems[0].reason


def test_memory_stays_flat_while_the_ledger_grows(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "l", ManualClock(), home_id=HOME_ID)
    body = {"text": "x" * 20_000}
    for _ in range(400):
        ledger.append("kind", "agent", body, actor="keeper")
    tracemalloc.start()
    assert verified(tmp_path / "l").records == 400
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
