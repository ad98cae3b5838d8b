"""A directory that keeps objects: whole or not there, never overwritten, on the disk before anything is said."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from holdfast.state.store.disk import TMP_PREFIX, Disk
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import Missing, StoreError


class FullDisk(Disk):
    """Says that it is full at its nth write, having written half of it."""

    def __init__(self, at: int) -> None:
        self.at = at

    def write(self, file: int, data: bytes | memoryview) -> int:
        self.at -= 1
        if self.at < 0:
            super().write(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(file, data)


class NamedDisk(Disk):
    """A file system without nameless files, and perhaps without hard links."""

    def __init__(self, *, links: bool) -> None:
        self.links = links

    def create(self, directory: Path) -> tuple[int, Path | None]:
        name = directory / f"{TMP_PREFIX}{os.urandom(4).hex()}"
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), name


def test_an_object_is_created_once_and_never_overwritten(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "repo")
    assert store.put("packs/aa/one", [b"first", b" content"])
    assert not store.put("packs/aa/one", b"second")
    assert store.get("packs/aa/one") == b"first content"
    assert store.size("packs/aa/one") == 13


def test_of_many_who_create_one_object_one_wins(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    won: list[bytes] = []

    def put(mine: bytes) -> None:
        if store.put("snaps/x", mine):
            won.append(mine)

    threads = [threading.Thread(target=put, args=(b"%d" % number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("snaps/x") == won[0]


def test_pieces_are_read_as_asked_for_or_not_at_all(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a", b"0123456789")
    assert store.ranges("a", [(8, 2), (0, 3), (4, 0)]) == [b"89", b"012", b""]
    with pytest.raises(StoreError, match="ends before byte 11"):
        store.ranges("a", [(0, 2), (9, 2)])


def test_what_is_not_there_is_missing_and_as_good_as_deleted(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "never made")
    for ask in (store.get, store.size, lambda name: store.ranges(name, [(0, 1)])):
        with pytest.raises(Missing):
            ask("packs/aa/one")
    store.delete("packs/aa/one")
    assert list(store.list("")) == []


def test_objects_are_listed_below_a_prefix(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for name in ("config", "packs/aa/one", "packs/bb/two", "snaps/three"):
        store.put(name, b"x" * len(name))
    (tmp_path / "packs" / "aa" / f"{TMP_PREFIX}left").write_bytes(b"half")
    assert {one.name: one.size for one in store.list("packs/")} == {"packs/aa/one": 12, "packs/bb/two": 12}
    assert len(list(store.list(""))) == 4
    assert all(one.changed_at > 1.6e9 for one in store.list(""))


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/..", "a/./b", "ä", "a/.tmp-1"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError):
        LocalStore(tmp_path / "repo").put(name, b"x")
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("at", range(3))
def test_a_disk_that_fills_up_leaves_nothing_half(tmp_path: Path, at: int) -> None:
    store = LocalStore(tmp_path, FullDisk(at))
    with pytest.raises(StoreError, match=r"packs/aa/one could not be written in .*: No space left") as caught:
        store.put("packs/aa/one", [b"a" * 100, b"b" * 100, b"c" * 100])
    assert not caught.value.lasting
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert LocalStore(tmp_path).put("packs/aa/one", b"now")


@pytest.mark.parametrize("links", [True, False])
def test_file_systems_without_nameless_files_or_links_keep_objects_too(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object, **_options: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    store = LocalStore(tmp_path, NamedDisk(links=links))
    assert store.put("a", b"first")
    assert not store.put("a", b"second")
    assert store.get("a") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_process_left_unpublished_is_swept(tmp_path: Path) -> None:
    old, young = tmp_path / f"{TMP_PREFIX}1", tmp_path / f"{TMP_PREFIX}2"
    for left in (old, young):
        left.write_bytes(b"half")
    os.utime(old, (1, 1))
    LocalStore(tmp_path, NamedDisk(links=True)).put("a", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, "a"]


def test_a_directory_that_may_not_be_written_is_a_lasting_reason(tmp_path: Path) -> None:
    (tmp_path / "packs").write_bytes(b"a file where a directory should be")
    with pytest.raises(StoreError) as caught:
        LocalStore(tmp_path).put("packs/aa/one", b"x")
    assert caught.value.lasting
