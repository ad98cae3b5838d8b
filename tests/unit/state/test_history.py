"""Looking into snapshots: versions of a path, one file's content, what differs, and what is read for it."""

import random

import pytest

from holdfast.errors import HoldfastError
from holdfast.state.keeping import usage
from holdfast.state.looking import differences, history
from holdfast.state.model import Root
from holdfast.state.store import names
from holdfast.state.store.repository import Repository
from tests.harness.memory_store import MemoryStore
from tests.harness.state_trees import ROOT, take

AT = 1_790_000_000.0


@pytest.fixture
def repository():
    return Repository.create(MemoryStore(), "loop", bytes(32), encrypt=True)


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def test_versions_of_a_file_are_told_newest_first(repository):
    contents = [
        {"other": b"x"},
        {"d": {"a": b"one"}},
        {"d": {"a": b"one", "b": b"."}},
        {"d": {"a": b"three"}},
        {"d": {}},
    ]
    snapshots = [take(repository, content, AT + n) for n, content in enumerate(contents)]
    found = history.versions(repository, f"{ROOT}/d/a")
    assert [(one.change, one.size) for one in found.versions] == [("removed", None), ("changed", 5), ("added", 3)]
    assert [one.snapshot for one in found.versions] == [snapshots[4].id, snapshots[3].id, snapshots[1].id]


@pytest.mark.parametrize("path", ["d/a", "agent/d/a", f"{ROOT}/d/a", f"{ROOT}/d/../d/./a", "./d/a"])
def test_a_path_may_be_given_from_the_root_from_a_state_path_or_with_its_name(repository, path):
    take(repository, {"d": {"a": b"one"}}, AT)
    assert history.versions(repository, path).path == f"{ROOT}/d/a"


def test_only_directories_that_differ_are_read_for_a_history(repository, monkeypatch):
    for number in range(50):
        take(repository, {"d": {"a": b"one"}, "n": b"%d" % number}, AT + number)
    read = []
    plain = Repository.tree
    monkeypatch.setattr(Repository, "tree", lambda self, blob: (read.append(blob), plain(self, blob))[1])
    history.versions(repository, "d/a")
    assert len(read) == 50 + 1  # each root, and the one directory below that they share


def test_a_path_in_no_snapshot_is_said(repository):
    take(repository, {"a": b"one"}, AT)
    with pytest.raises(HoldfastError, match="b/c"):
        history.versions(repository, "b/c")


def test_a_file_is_streamed_and_a_directory_is_refused(repository):
    data = noise(1, 100_000)
    snapshot = take(repository, {"big": data, "d": {"x": b"1"}}, AT)
    assert b"".join(history.cat(repository, snapshot, "big")) == data
    with pytest.raises(HoldfastError, match="a file"):
        history.cat(repository, snapshot, "d")
    with pytest.raises(HoldfastError, match="none"):
        history.cat(repository, snapshot, "none")


def test_an_unreadable_snapshot_is_passed_over_in_a_history(repository):
    take(repository, {"a": b"one"}, AT)
    bad = take(repository, {"a": b"two"}, AT + 1)
    take(repository, {"a": b"three"}, AT + 2)
    repository.store.damage(names.snapshot_object(bad), 40)
    assert [one.size for one in history.versions(repository, "a").versions] == [5, 3]


def test_a_difference_tells_paths_sizes_lines_and_pages(repository):
    pages = noise(3, 4096 * 300)
    changed = pages[: 4096 * 200] + noise(4, 4096 * 2) + pages[4096 * 202 :]
    a = take(repository, {"t": b"one\ntwo\n", "same": b"s", "gone": {"x": b"1"}, "b": b"\0\1", "s.db": pages}, AT)
    b = take(repository, {"t": b"one\n2\n", "same": b"s", "new": b"n", "b": b"\0\2", "s.db": changed}, AT + 1)
    found = differences.diff(repository, a, b)
    told = {one.path.removeprefix(ROOT + "/"): one for one in found.changes}
    assert {path: one.change for path, one in told.items()} == {
        "t": "changed", "gone": "removed", "gone/x": "removed", "b": "changed", "s.db": "changed", "new": "added",
    }  # fmt: skip
    assert "-two\n+2" in told["t"].text
    assert told["b"].note == "binary"
    assert told["s.db"].note == "database: 2 of 300 pieces of 8 KiB changed"
    assert (told["new"].before, told["new"].after) == (None, 1)
    assert (found.added, found.changed, found.removed) == (1, 3, 2)


def test_equal_directories_are_not_read_for_a_difference(repository, monkeypatch):
    wide = {f"d{n}": {"x": b"%d" % n} for n in range(30)}
    a = take(repository, {**wide, "t": b"1"}, AT)
    b = take(repository, {**wide, "t": b"2"}, AT + 1)
    read = []
    plain = Repository.tree
    monkeypatch.setattr(Repository, "tree", lambda self, blob: (read.append(blob), plain(self, blob))[1])
    assert differences.diff(repository, a, b).changed == 1
    assert len(read) == 2


def test_a_difference_of_one_path_tells_that_alone(repository):
    a = take(repository, {"d": {"x": b"1", "e": {"y": b"1"}}, "t": b"1"}, AT)
    b = take(repository, {"d": {"x": b"2", "e": {"y": b"2"}}, "t": b"2"}, AT)
    assert [one.path for one in differences.diff(repository, a, b, "d/e").changes] == [f"{ROOT}/d/e/y"]
    assert differences.diff(repository, a, b, f"{ROOT}/d").changed == 2
    assert differences.diff(repository, a, b, "none").changes == []


def test_long_lists_and_texts_are_cut_and_counts_are_not(repository):
    a = take(repository, {"t": b"\n".join(b"%d" % n for n in range(3000))}, AT)
    b = take(repository, {"t": b"\n".join(b"x%d" % n for n in range(3000)), **{f"f{n}": b"" for n in range(1500)}}, AT)
    found = differences.diff(repository, a, b)
    assert found.added == 1500
    assert len(found.changes) == 1000
    c = differences.diff(repository, b, a)
    assert c.removed == 1500
    (text,) = [one.text for one in differences.diff(repository, a, take(repository, {"t": b"y"}, AT)).changes]
    assert len(text) < 20_000
    assert text.endswith("(cut)\n")


def test_names_that_are_no_text_are_shown_escaped():
    assert differences.shown(b"a\xff") == "a\\xff"
    assert history.absolute((Root(path="/x", entry=None),), "a/b") == "/x/a/b"


def test_usage_tells_what_is_new_unique_in_trash_and_unused(repository):
    from holdfast.state.keeping import trash

    shared, middle, late = noise(1, 50_000), noise(2, 30_000), noise(3, 20_000)
    first = take(repository, {"s": shared}, AT)
    second = take(repository, {"s": shared, "m": middle}, AT + 1)
    third = take(repository, {"s": shared, "l": late}, AT + 2)
    found = usage.du(repository)
    rows = {row.id: row for row in found.rows}
    assert rows[first.id].new_bytes > 50_000
    assert 30_000 < rows[second.id].unique_bytes < 31_500
    assert rows[second.id].new_bytes == rows[second.id].unique_bytes
    assert 20_000 < rows[third.id].unique_bytes < 21_500
    assert found.logical_bytes == 50_000 + 80_000 + 70_000
    assert found.unused_bytes == 0
    trash.remove(repository, second, AT)
    found = usage.du(repository)
    assert 30_000 < found.trash_bytes < 31_500
    for one in repository.trashed():
        repository.store.delete(one.object_name)
    assert 30_000 < usage.du(repository).unused_bytes < 33_000
