"""Init's journal: whatever byte a kill comes at, one whole file is found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.init import journal
from holdfast.init.journal import Journal


def test_records_come_back_in_order(tmp_path: Path) -> None:
    first = Journal(str(tmp_path))
    first.begin([{"t": "a"}])
    first.append({"t": "b", "text": "ä\n"}, {"t": "c"})
    assert Journal(str(tmp_path)).load() == [{"t": "a"}, {"t": "whole"}, {"t": "b", "text": "ä\n"}, {"t": "c"}]


def test_the_newer_file_counts(tmp_path: Path) -> None:
    first = Journal(str(tmp_path))
    first.begin([{"t": "old"}])
    first.begin([{"t": "new"}])
    assert Journal(str(tmp_path)).load()[0] == {"t": "new"}


@pytest.mark.parametrize("cut", range(0, 130, 3))
def test_a_file_cut_at_any_byte_loses_only_what_follows(tmp_path: Path, cut: int) -> None:
    first = Journal(str(tmp_path))
    first.begin([{"t": "old"}])
    first.begin([{"t": "new"}])
    first.append(*({"t": "n", "number": number} for number in range(3)))
    newest = max(tmp_path.glob("*.journal"), key=lambda path: b'"gen":2' in path.read_bytes())
    with newest.open("r+b") as file:
        file.seek(cut)
        file.write(b"\0" * 4096)
    records = Journal(str(tmp_path)).load()
    assert records[0] in ({"t": "new"}, {"t": "old"})
    numbers = [record["number"] for record in records if record["t"] == "n"]
    assert numbers == list(range(len(numbers)))


def test_a_flipped_bit_ends_the_file_there(tmp_path: Path) -> None:
    first = Journal(str(tmp_path))
    first.begin([{"t": "a"}])
    first.append({"t": "b"})
    first.append({"t": "c"})
    path = next(tmp_path.glob("*.journal"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b'{"t":"b"}', b'{"t":"d"}'))
    assert Journal(str(tmp_path)).load() == [{"t": "a"}, {"t": "whole"}]


def test_a_directory_that_cannot_be_written_leaves_memory_and_a_reason(tmp_path: Path) -> None:
    first = Journal(str(tmp_path / "missing"))
    first.begin([{"t": "a"}])
    first.append({"t": "b"})
    assert first.failed
    assert "No such file" in first.failed


def test_growth_is_answered_by_a_larger_file(tmp_path: Path) -> None:
    first = Journal(str(tmp_path))
    first.begin([{"t": "big", "text": "x" * journal.SLOT_BYTES}])
    assert not first.full
    assert os.path.getsize(next(tmp_path.glob("*.journal"))) >= 2 * journal.SLOT_BYTES


@pytest.mark.parametrize("begun", [1, 2])
def test_what_was_reserved_in_memory_goes_back_in_the_end_and_nothing_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int
) -> None:
    monkeypatch.setattr(journal, "MEMORY_DIRECTORIES", (str(tmp_path),))
    last = Journal(str(tmp_path))
    for _ in range(begun):
        last.begin([{"t": "a"}])
    last.shrink([{"t": "end"}])
    last.append({"t": "too late"})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 200
    again = Journal(str(tmp_path))
    assert again.load() == [{"t": "end"}, {"t": "whole"}]
    again.begin([{"t": "b"}])
    again.append({"t": "c"})
    assert Journal(str(tmp_path)).load() == [{"t": "b"}, {"t": "whole"}, {"t": "c"}]


def test_on_a_disk_it_stays_reserved(tmp_path: Path) -> None:
    last = Journal(str(tmp_path))
    last.begin([{"t": "a"}])
    last.shrink([{"t": "end"}])
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [journal.SLOT_BYTES]
