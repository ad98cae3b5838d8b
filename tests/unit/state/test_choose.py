"""Which snapshot a person means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import structs

from holdfast.errors import HoldfastError
from holdfast.state.answers import SnapshotRow
from holdfast.state.looking import choose
from holdfast.state.looking.choose import Choice, Wish
from holdfast.state.model import Cause

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()


def row(seq: int, ago_s: float, digits: str = "", *pins: str) -> SnapshotRow:
    return SnapshotRow(
        id=(digits or f"{seq:04x}").ljust(32, "0"), at=NOW - ago_s, cause=Cause.TIMER, seq=seq, pins=pins, files=7
    )


ROWS = [row(1, 7200, "aaaa1"), row(2, 3600, "aaaa2", "known-good"), row(3, 600, "12345678"), row(4, 60, "b0")]


@pytest.mark.parametrize(
    ("text", "prefer_id", "expected"),
    [
        ("newest", True, Wish()),
        ("latest", False, Wish()),
        ("known-good", True, Wish(good=True)),
        ("10 min ago", True, Wish(at=NOW - 600)),
        ("11:00", False, Wish(at=NOW - 3600)),
        ("2026-11-21T10:00Z", False, Wish(at=NOW - 7200)),
        ("2026-11-21T11:00+01:00", True, Wish(at=NOW - 7200)),
        ("AAAA1", True, Wish(id="aaaa1")),
        ("aaaa1", False, Wish(id="aaaa1")),
        ("3600", False, Wish(at=NOW - 3600)),  # behind --at digits are seconds
        ("3600", True, Wish(id="3600")),  # alone they are an id
        ("2d", True, Wish(at=NOW - 172_800)),  # too short for an id
    ],
)
def test_what_people_type_is_a_time_or_an_id(text: str, prefer_id: bool, expected: Wish) -> None:
    assert choose.wish(text, NOW, UTC, prefer_id=prefer_id) == expected


@pytest.mark.parametrize("text", ["", "soon", "../etc", "aaaa1x", "25:00", "g00d"])
def test_everything_else_is_refused_and_told_what_would_do(text: str) -> None:
    with pytest.raises(ValueError, match=r"known-good|23:59"):
        choose.wish(text, NOW, UTC)


@pytest.mark.parametrize(
    ("wished", "seq", "off_s"),
    [
        (Wish(), 4, None),
        (Wish(at=NOW), 4, -60.0),
        (Wish(at=NOW + 1e6), 4, -1e6 - 60),  # the future: the newest, and how far off that is
        (Wish(at=NOW - 60), 4, 0.0),
        (Wish(at=NOW - 61), 3, -539.0),
        (Wish(at=NOW - 5000), 1, -2200.0),
        (Wish(at=NOW - 9000), 1, 1800.0),  # none is that old: the oldest is offered, later than wished
        (Wish(id="aaaa2"), 2, None),
        (Wish(id="b0"), 4, None),
        (Wish(good=True), 2, None),
    ],
)
def test_the_newest_snapshot_that_is_not_later_is_chosen(wished: Wish, seq: int, off_s: float | None) -> None:
    found = choose.choose("bot", ROWS, wished)
    expected = next(one for one in ROWS if one.seq == seq)
    assert found == Choice(id=expected.id, at=expected.at, off_s=off_s)


def test_an_id_that_fits_several_chooses_none_and_lists_them() -> None:
    with pytest.raises(HoldfastError) as raised:
        choose.choose("bot", ROWS, Wish(id="aaaa"))
    assert raised.value.kind.name == "SnapshotAmbiguous"
    assert "aaaa1" in raised.value.summary
    assert "aaaa2" in raised.value.summary


@pytest.mark.parametrize(
    ("rows", "wished", "name"),
    [
        ([], Wish(), "NoSnapshots"),
        (ROWS, Wish(id="ffff"), "SnapshotNotFound"),
        (ROWS[2:], Wish(good=True), "SnapshotNotFound"),
    ],
)
def test_what_is_not_there_is_said(rows: list[SnapshotRow], wished: Wish, name: str) -> None:
    with pytest.raises(HoldfastError) as raised:
        choose.choose("bot", rows, wished)
    assert (raised.value.kind.name, raised.value.exit_code) == (name, 4)


def test_a_clock_that_was_set_back_is_said_and_hides_no_snapshot() -> None:
    year_s = 365 * 86_400.0
    rows = [*ROWS, row(5, year_s, "c0de")]  # made last, by a clock a year behind
    assert choose.choose("bot", rows, Wish(at=NOW)).clock_changed
    assert choose.choose("bot", rows, Wish()).id.startswith("c0de")
    assert choose.choose("bot", rows, Wish(at=NOW - year_s + 5)).id.startswith("c0de")
    assert not choose.choose("bot", ROWS, Wish(at=NOW)).clock_changed


def test_what_was_taken_after_everything_was_deleted_is_not_the_newest() -> None:
    empty = [structs.replace(row(seq, 10.0 - seq, f"e{seq}0"), files=0) for seq in (5, 6)]
    found = choose.choose("bot", [*ROWS, *empty], Wish())
    assert (found.id[:2], found.empty) == ("b0", 2)
    assert choose.choose("bot", [*ROWS, *empty], Wish(at=NOW)).id.startswith("e60")  # who names a moment gets it
    assert choose.choose("bot", empty, Wish()).id.startswith("e60")  # there never was a file


def test_what_cannot_be_read_is_not_the_newest_and_not_said_to_be_empty() -> None:
    damaged = structs.replace(row(5, 10.0, "e50"), files=0, damaged="its manifest is damaged")
    found = choose.choose("bot", [*ROWS, damaged], Wish())
    assert (found.id[:2], found.empty, found.damaged) == ("b0", 0, 1)
