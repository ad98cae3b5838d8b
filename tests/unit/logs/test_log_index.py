"""The sparse time index."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.logs.index import Index, offset_before

S = 1_000_000_000
MINUTE = 60 * S


def noted(path: Path) -> list[tuple[int, int]]:
    data = path.read_bytes()[16:]
    return [
        (int.from_bytes(data[at : at + 8], "little"), int.from_bytes(data[at + 8 : at + 16], "little"))
        for at in range(0, len(data) // 16 * 16, 16)
    ]


def test_at_most_one_record_a_second(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "i"), 7)
    for tick in range(100):
        index.note(1000 * S + tick * S // 10, tick * 100)
    assert [offset for _, offset in noted(tmp_path / "i")] == list(range(0, 10_000, 1000))


def test_a_few_bytes_make_no_record_until_five_seconds_were_quiet(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "i"), 7)
    for at_s, offset in ((0, 0), (2, 10), (4, 20), (10, 30)):
        index.note(1000 * S + at_s * S, offset)
    assert [offset for _, offset in noted(tmp_path / "i")] == [0, 30]


@pytest.mark.parametrize(
    ("at_s", "found"), [(99, None), (100, 0), (150, 0), (200, 1000), (299, 1000), (300, 2000), (9999, 2000)]
)
def test_the_last_record_that_is_old_enough_is_found(at_s: int, found: int | None, tmp_path: Path) -> None:
    index = Index(str(tmp_path / "i"), 7)
    for number in range(3):
        index.note((100 + 100 * number) * S, 1000 * number)
    assert offset_before(str(tmp_path / "i"), 7, at_s * S, 3000) == found


def test_long_indexes_are_searched_from_their_end(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "i"), 7)
    for number in range(5000):
        index.note(number * S, 100 * number)
    for wanted in (0, 1, 903, 904, 905, 4095, 4096, 4999):
        assert offset_before(str(tmp_path / "i"), 7, wanted * S, 10**9) == 100 * wanted


def test_after_the_clock_jumped_back_nothing_new_is_hidden(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "i"), 7)
    for at_s, offset in ((1000, 0), (1100, 100), (500, 200), (600, 300)):
        index.note(at_s * S, offset)
    assert offset_before(str(tmp_path / "i"), 7, 590 * S, 400) == 200
    assert offset_before(str(tmp_path / "i"), 7, 450 * S, 400) is None


def test_another_files_index_and_garbage_are_ignored_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "i"
    for content in (b"", b"x", b"garbage" * 10):
        path.write_bytes(content)
        assert offset_before(str(path), 7, 10 * S, 100) is None
        Index(str(path), 7).note(5 * S, 40)
        assert offset_before(str(path), 7, 10 * S, 100) == 40
        assert offset_before(str(path), 8, 10 * S, 100) is None


def test_a_torn_record_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "i"
    Index(str(path), 7).note(5 * S, 40)
    with path.open("ab") as opened:
        opened.write(b"torn")
    Index(str(path), 7).note(70 * S, 90)
    assert noted(path) == [(5 * S, 40), (70 * S, 90)]


def test_an_index_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    Index(str(tmp_path / "missing" / "i"), 7).note(5 * S, 40)


def test_offsets_behind_the_end_of_an_emptied_log_are_not_used(tmp_path: Path) -> None:
    index = Index(str(tmp_path / "i"), 7)
    index.note(5 * S, 0)
    index.note(70 * S, 5000)
    assert offset_before(str(tmp_path / "i"), 7, 100 * S, 100) == 0
