"""Directories as blobs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.state.model import Entry, Kind
from holdfast.state.store import tree

BLOB = b"0123456789abcdef"
NAMES = st.binary(min_size=1, max_size=20).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b".."))


def entry(name: bytes, **more: object) -> Entry:
    fields: dict[str, object] = {"kind": Kind.FILE, "mode": 0o644, "uid": 1, "gid": 2, "mtime_ns": 5, **more}
    return Entry(name=name, **fields)  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(st.sets(NAMES, max_size=10), st.randoms())
def test_a_directory_is_the_same_bytes_whatever_the_order_it_was_read_in(names: set[bytes], random: object) -> None:
    entries = [entry(name, blobs=(BLOB,), xattrs=((b"user.a", b"\xff"),), links=(3, 4)) for name in names]
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert tree.encode(entries) == tree.encode(shuffled)
    assert tree.decode(tree.encode(entries)) == sorted(entries, key=lambda e: e.name)


@pytest.mark.parametrize(
    "bad",
    [
        entry(b".."),
        entry(b"."),
        entry(b""),
        entry(b"a/b"),
        entry(b"a\0"),
        entry(b"a", blobs=(b"short",)),
        entry(b"a", mode=0o10000),
        entry(b"a", size=-1),
        entry(b"a", kind=Kind.DIRECTORY),
    ],
)
def test_an_entry_that_could_lead_out_of_its_directory_or_is_impossible_is_refused(bad: Entry) -> None:
    with pytest.raises(tree.BadTree):
        tree.decode(tree.encode([bad]))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x91\x01", tree._ENCODER.encode([entry(b"b"), entry(b"a")])])
def test_bytes_that_are_no_directory_are_refused(data: bytes) -> None:
    with pytest.raises(tree.BadTree):
        tree.decode(data)


def test_two_entries_of_one_name_are_refused_when_written() -> None:
    with pytest.raises(ValueError, match="two entries"):
        tree.encode([entry(b"a"), entry(b"a")])


def test_a_long_content_is_cut_into_lists_of_ids_that_join_to_the_same() -> None:
    ids = [number.to_bytes(16, "big") for number in range(300)]
    made = list(tree.extents(ids))
    assert [len(one) // 16 for one in made] == [128, 128, 44]
    assert [one for extent in made for one in tree.split_ids(extent)] == ids
    assert list(tree.extents([])) == []
    with pytest.raises(tree.BadTree):
        tree.split_ids(b"123")


def test_a_map_of_a_sparse_file_comes_back_and_a_crooked_one_is_refused() -> None:
    spans = [(0, 10), (10, 5), (2**40, 1)]
    assert tree.split_spans(tree.join_spans(spans)) == spans
    for bad in ([(5, 5), (0, 5)], [(0, 10), (5, 10)], [(0, 0)]):
        with pytest.raises(tree.BadTree):
            tree.split_spans(tree.join_spans(bad))
    with pytest.raises(tree.BadTree):
        tree.split_spans(b"x")
