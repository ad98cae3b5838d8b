"""The ledger keeps what campaign.py lists, and a few things more."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import errors
from holdfast.ledger import record, segment
from holdfast.ledger.chain import Ledger
from holdfast.ledger.reading import read
from holdfast.ledger.record import BadRecord, Head
from tests.harness.manual_clock import ManualClock
from tests.unit.ledger.campaign import CHECKS, HOME_ID, Check, verified, written

TEXT = st.text(max_size=40)
BODY = st.dictionaries(
    TEXT,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_ledger_keeps_its_promise(check: Check, tmp_path: Path) -> None:
    check(tmp_path)


@given(TEXT, TEXT, TEXT, BODY, st.integers(1, 2**63), st.integers(0, 2**63))
@settings(max_examples=60, deadline=None)
def test_any_record_comes_back_from_its_bytes(
    kind: str, agent: str, actor: str, body: dict[str, object], seq: int, at_ns: int
) -> None:
    hashed = record.payload(seq, at_ns, kind, agent, actor, record.canonical_body(body), bytes(32))
    back = record.decode(record.frame(hashed, record.digest(hashed)))
    assert (back.kind, back.agent, back.actor, back.body, back.seq, back.at_ns) == (
        kind,
        agent,
        actor,
        body,
        seq,
        at_ns,
    )


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
@settings(max_examples=60, deadline=None)
def test_different_fields_never_give_the_same_bytes(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    def bytes_of(texts: tuple[str, str, str]) -> bytes:
        return record.payload(1, 0, *texts, b"{}", bytes(32))

    assert (bytes_of(one) == bytes_of(other)) == (one == other)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_garbage_is_never_a_record_and_never_a_crash(data: bytes) -> None:
    for candidate in (data, record.RECORD_MAGIC + data, record.frame(data, record.digest(data))):
        with pytest.raises(BadRecord):
            record.decode(candidate)


@pytest.mark.parametrize(
    "body",
    [{"x": float("nan")}, {"x": float("inf")}, {1: "x"}, {"x": {None: 1}}, {"x": object()}, {"x": {1, 2}}],
)
def test_a_body_that_json_cannot_say_is_refused_and_nothing_is_stored(body: dict[str, object], tmp_path: Path) -> None:
    ledger = written(tmp_path / "l", 1)
    with pytest.raises((TypeError, ValueError)):
        ledger.append("kind", "", body, actor="keeper")
    assert ledger.head.seq == 1


def test_a_body_beyond_the_bound_is_stored_as_its_size_and_hash(tmp_path: Path) -> None:
    ledger = written(tmp_path / "l", 1)
    ledger.append("kind", "", {"text": "x" * 2_000_000}, actor="keeper")
    (kept,) = ledger.records(after=1)
    assert kept.body["cut"]["bytes"] > 2_000_000


def test_many_garbled_ledgers_open_append_and_verify_without_a_crash(tmp_path: Path) -> None:
    seed = int(os.environ.get("HOLDFAST_SEED", "20261104"))
    print(f"seed {seed}")
    rng = random.Random(seed)
    written(tmp_path / "whole", 12).close()
    file = tmp_path / "whole" / segment.name(1)
    whole = file.read_bytes().rstrip(b"\0")
    for round_ in range(60):
        path = tmp_path / f"r{round_}"
        path.mkdir()
        data = bytearray(whole + bytes(500))
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(whole))
            length = rng.randint(1, 400)
            data[at : at + length] = rng.choice((b"", bytes(length), rng.randbytes(length)))
        (path / segment.name(1)).write_bytes(data)
        before = [found.seq for found in read(path)]
        ledger = Ledger.open(path, ManualClock(), home_id=HOME_ID)
        added = ledger.append("next", "", {}, actor="keeper")
        assert added.stored
        after = [found.seq for found in ledger.records()]
        assert after[: len(before)] == before, f"round {round_}: an earlier record was lost"
        ledger.close()
        again = Ledger.open(path, ManualClock(), home_id=HOME_ID)
        assert again.head == added.head, f"round {round_}"
        again.close()


def test_a_segment_whose_header_is_gone_is_followed_by_a_new_one(tmp_path: Path) -> None:
    written(tmp_path / "l").close()
    file = tmp_path / "l" / segment.name(1)
    file.write_bytes(bytes(40) + file.read_bytes()[40:])
    ledger = Ledger.open(tmp_path / "l", ManualClock(), home_id=HOME_ID)
    assert [found.kind for found in ledger.records(after=6)] == ["gap"]
    assert ledger.append("next", "", {}, actor="keeper").seq == 8
    assert not verified(tmp_path / "l").ok


def test_an_emptied_last_segment_is_named_in_a_gap_record(tmp_path: Path) -> None:
    written(tmp_path / "l").close()
    (tmp_path / "l" / segment.name(2)).write_bytes(b"")
    ledger = Ledger.open(tmp_path / "l", ManualClock(), home_id=HOME_ID)
    (gap,) = ledger.records(after=6)
    assert (gap.kind, gap.body["segment"]) == ("gap", "000002.hfl")


def test_the_home_id_is_read_beside_the_ledger(tmp_path: Path) -> None:
    (tmp_path / "home.id").write_text("cafe0001\n")
    ledger = Ledger.open(tmp_path / "ledger", ManualClock())
    assert ledger.head == Head(0, record.genesis("cafe0001"))


def test_a_ledger_in_an_impossible_place_is_a_numbered_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.HoldfastError) as caught:
        Ledger.open(tmp_path / "file" / "ledger", ManualClock(), home_id=HOME_ID)
    assert caught.value.kind is errors.HOME_UNUSABLE


def test_reading_goes_on_while_the_writer_begins_a_new_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.limits.LEDGER_SEGMENT_BYTES", 4000)
    ledger = written(tmp_path / "l", 10)
    reader = ledger.records()
    assert next(reader).seq == 1
    for _ in range(40):
        ledger.append("kind", "", {}, actor="keeper")
    assert [found.seq for found in reader][:9] == list(range(2, 11))


def test_a_head_survives_text() -> None:
    head = Head(17, bytes(range(32)))
    assert Head.parse(head.text) == head
    for bad in ("", "17", "x:00", "17:00", "-1:" + "00" * 32):
        with pytest.raises(ValueError):
            Head.parse(bad)


def test_the_reserve_is_there_again_after_opening(tmp_path: Path) -> None:
    written(tmp_path / "l").close()
    file = tmp_path / "l" / segment.name(1)
    file.write_bytes(file.read_bytes().rstrip(b"\0"))
    Ledger.open(tmp_path / "l", ManualClock(), home_id=HOME_ID).close()
    assert file.stat().st_blocks * 512 >= 1024 * 1024
