"""What a directory is recognised by, and the file that remembers it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from holdfast.state.capture import walk
from holdfast.state.capture.statcache import Cache, Notes, Record

SECOND = 1_000_000_000


def signature(ctimes: dict[bytes, int]) -> bytes:
    facts = b"".join(struct.pack("<QQqqIII", 1, 2, 3, ctime, 0o100644, 5, 6) for ctime in ctimes.values())
    return struct.pack("<I", len(ctimes)) + facts + b"\0".join(ctimes)


def test_a_directory_is_seen_whole_with_odd_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b").symlink_to("nowhere")
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff\n", os.O_CREAT | os.O_WRONLY))
    fd = os.open(tmp_path, os.O_RDONLY)
    listing = walk.scan(fd)
    os.close(fd)
    seen = walk.entries(listing.signature)
    assert set(seen) == {b"sub", b"b", b"\xff\n"}
    assert listing.directories == (b"sub",)
    assert walk.mode_of(seen[b"sub"]) == (tmp_path / "sub").stat().st_mode


def test_an_empty_directory_has_a_signature_of_its_own(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    assert walk.entries(walk.scan(fd).signature) == {}
    os.close(fd)


NOW = 1_800_000_000 * SECOND + 123_456_789


@pytest.mark.parametrize(
    ("ctime", "trusted"),
    [
        (NOW - SECOND, True),
        (NOW - 40_000_000, False),  # the clock of the kernel may not have moved on yet
        (NOW, False),
        (NOW + SECOND, False),  # written while it was read
        (NOW + 7200 * SECOND, True),  # the clock was set back: a change now would have another time
        ((NOW // SECOND - 1) * SECOND, False),  # a file system that keeps whole seconds
        ((NOW // SECOND - 10) * SECOND, True),
    ],
)
def test_what_changed_just_now_is_not_trusted_the_next_time(ctime: int, trusted: bool) -> None:
    seen = signature({b"old": 5, b"f": ctime})
    kept = walk.distrust(seen, set(), NOW, NOW + SECOND // 2)
    assert (kept == seen) is trusted
    assert walk.entries(kept)[b"old"] == walk.entries(seen)[b"old"]


def test_what_is_named_is_not_trusted() -> None:
    seen = signature({b"a": 5, b"b": 6})
    kept = walk.entries(walk.distrust(seen, {b"b"}, NOW, NOW))
    assert kept[b"a"] == walk.entries(seen)[b"a"]
    assert kept[b"b"] != walk.entries(seen)[b"b"]


# --- the file ------------------------------------------------------------------------------------------------------
def record(path: str, tree: int = 1) -> Record:
    parts = tuple(part.encode() for part in path.split("/")) if path else ()
    return Record(root=0, path=parts, tree=bytes([tree]) * 16, signature=path.encode() * 3, notes=Notes(files=tree))


def written(path: Path, snapshot: str, records: list[Record]) -> None:
    cache = Cache(path, b"key", "")
    for one in records:
        assert cache.find(one.root, one.path) is None
        cache.put(one, instead=False)
    cache.commit(snapshot, (None,))
    cache.close()


WALKED = [record("a/b"), record("a"), record("a.b"), record("b/c/d"), record("b/c"), record("b"), record("")]


def test_what_was_written_is_found_again_in_the_order_of_the_walk(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    written(path, "s1", WALKED)
    cache = Cache(path, b"key", "s1")
    assert cache.summary is not None
    for one in WALKED:
        assert cache.find(one.root, one.path) == one
        cache.same()
    before = path.stat().st_ino
    cache.commit("s1", (None,))
    cache.close()
    assert path.stat().st_ino == before, "nothing differed, so nothing was written"


def test_directories_that_came_went_and_changed_are_in_the_next_file(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    written(path, "s1", WALKED)
    now = [record("a/b"), record("a/new", 2), record("a", 2), record("b/c", 3), record("b", 3), record("", 4)]
    cache = Cache(path, b"key", "s1")
    for one in now:
        found = cache.find(one.root, one.path)
        if found == one:
            cache.same()
        else:
            cache.put(one, instead=found is not None)
    cache.commit("s2", (None,))
    cache.close()
    assert not (tmp_path / "stat.new").exists()
    assert Cache(path, b"key", "s1").summary is None
    again = Cache(path, b"key", "s2")
    assert [again.find(one.root, one.path) for one in now] == now
    again.close()


@pytest.mark.parametrize("damage", ["cut", "bit", "key", "empty", "gone"])
def test_a_file_that_is_not_whole_or_not_ours_is_as_good_as_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "stat"
    written(path, "s1", WALKED)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[-40:]
    elif damage == "bit":
        data[30] ^= 1
    elif damage == "empty":
        data.clear()
    path.write_bytes(data)
    if damage == "gone":
        path.unlink()
    cache = Cache(path, b"other" if damage == "key" else b"key", "s1")
    assert cache.summary is None
    assert cache.find(0, (b"a",)) is None
    cache.close()


def test_without_commit_the_last_file_stays_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    written(path, "s1", WALKED)
    cache = Cache(path, b"key", "s1")
    cache.put(record("a/b", 7), instead=cache.find(0, (b"a", b"b")) is not None)
    cache.close()
    assert os.listdir(tmp_path) == ["stat"]
    assert Cache(path, b"key", "s1").summary is not None
