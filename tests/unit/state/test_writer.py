"""What is stored, what is stored once, and what a writer that fails or is left leaves behind."""

from __future__ import annotations

import errno
import os
import random
from multiprocessing import get_context
from pathlib import Path

import pytest

from holdfast.errors import STATE_IN_USE, HoldfastError
from holdfast.state.keeping import condemning, trash
from holdfast.state.store import writer as writers
from holdfast.state.store import writing
from holdfast.state.store.disk import Disk
from holdfast.state.store.ids import content_name
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import StoreError
from holdfast.state.store.pack import BlobKind
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer
from tests.unit.state.repositories import KEY, draft, kept, made, opened, pieces, take


def packs(directory: Path) -> list[Path]:
    return sorted(path for path in (directory / "repo" / "packs").rglob("*") if path.is_file())


def test_equal_content_is_stored_once_within_a_snapshot_and_between_them(tmp_path: Path) -> None:
    datas = pieces(1, 20, 2_000)
    repository = made(tmp_path)
    with Writer(repository) as writer:
        assert writer.put_many(datas + datas) == [writer.put(data) for data in datas + datas]
        writer.finish(draft())
        assert writer.blobs_new == 20
    with Writer(opened(tmp_path)) as writer:
        assert all(writer.has(repository.keys.blob_id(data)) for data in datas)
        writer.put_many(datas)
        writer.finish(draft())
        assert writer.blobs_new == 0
    assert len(packs(tmp_path)) == 1


def test_nothing_new_stores_a_manifest_alone_and_says_its_size(tmp_path: Path) -> None:
    repository = made(tmp_path)
    take(repository, [b"x" * 100])
    snapshot = take(repository, [b"x" * 100])
    size = (tmp_path / "repo" / "snaps" / snapshot.name).stat().st_size
    assert abs(repository.manifest(snapshot).bytes_new - size) <= 16  # the number is packed with the rest
    assert len(packs(tmp_path)) == 1


def test_a_condemned_pack_counts_as_absent(tmp_path: Path) -> None:
    repository = made(tmp_path)
    take(repository, [b"old" * 50])
    (old,) = repository.packs()
    with Writer(repository, condemned=frozenset([old.name])) as writer:
        assert not writer.has(repository.keys.blob_id(b"old" * 50))
        snapshot = writer.finish(draft((writer.put(b"old" * 50),), 150))
        assert writer.blobs_new == 1
    assert list(repository.delete_packs([old.name])) == [old.name]
    assert kept(opened(tmp_path, cache=False), snapshot) == b"old" * 50


def test_packs_are_called_after_their_bytes_and_fill_up_to_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "PACK_BYTES", 300_000)
    monkeypatch.setattr(writers, "FRAME_BYTES", 50_000)
    chance = random.Random(1)
    datas = [chance.randbytes(50_000) for _ in range(60)]
    snapshot = take(made(tmp_path), datas)
    stored = packs(tmp_path)
    assert 4 <= len(stored) <= 10  # a few frames more than planned may be under way
    assert all(content_name(path.read_bytes()) == path.name == path.name[:2] + path.name[2:] for path in stored)
    assert all(path.parent.name == path.name[:2] for path in stored)
    assert kept(opened(tmp_path), snapshot) == b"".join(datas)


def test_very_small_blobs_close_a_pack_by_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "_BLOBS_PER_PACK", 500)
    monkeypatch.setattr(writers, "FRAME_BYTES", 1_000)
    datas = [b"%d" % number for number in range(3_000)]
    snapshot = take(made(tmp_path), datas)
    assert len(packs(tmp_path)) >= 4
    assert kept(opened(tmp_path), snapshot) == b"".join(datas)


def test_trees_share_no_frame_with_contents(tmp_path: Path) -> None:
    repository = made(tmp_path)
    with Writer(repository) as writer:
        content = [writer.put(data) for data in pieces(2, 5, 900)]
        tree = writer.put(b"a tree", BlobKind.TREE)
        writer.finish(draft())
    frames = repository.index.find([*content, tree])
    assert frames[tree][1] not in {frames[blob][1] for blob in content}
    assert {row[0]: row[1] for row in repository.contents(repository.packs()[0].name)}[tree] == BlobKind.TREE


def test_a_writer_that_is_left_commits_nothing_and_its_packs_are_used_by_the_next(tmp_path: Path) -> None:
    datas = pieces(3, 50, 5_000)
    repository = made(tmp_path)
    with Writer(repository) as writer:
        writer.put_many(datas)
        writer.flush()
    assert repository.snapshots() == []
    with Writer(opened(tmp_path)) as writer:
        writer.put_many(datas)
        writer.finish(draft())
        assert writer.blobs_new == 0


def test_a_writer_whose_place_was_taken_is_refused(tmp_path: Path) -> None:
    repository = made(tmp_path)
    with Writer(repository) as slow:
        slow.put(b"slow")
        take(opened(tmp_path), [b"quick"])
        with pytest.raises(HoldfastError, match="newer snapshot") as caught:
            slow.finish(draft())
    assert caught.value.kind == STATE_IN_USE
    assert len(repository.snapshots()) == 1


def test_a_newer_snapshot_that_was_deleted_at_once_fences_an_older_writer_too(tmp_path: Path) -> None:
    repository = made(tmp_path)
    former = take(repository, [b"former"])
    with Writer(repository) as slow:
        slow.put(b"slow")
        trash.remove(repository, former, 0.0)  # one that it has met may go
        other = opened(tmp_path)
        trash.remove(other, take(other, [b"quick"]), 0.0)
        with pytest.raises(HoldfastError, match="newer snapshot"):
            slow.finish(draft())
    assert repository.snapshots() == []


class Filling(Disk):
    """A disk that is full from its nth write on."""

    def __init__(self, at: int) -> None:
        self.left = at

    def write(self, file: int, data: bytes | memoryview) -> int:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(file, data)


def test_a_disk_full_at_any_write_costs_only_the_snapshot_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "PACK_BYTES", 20_000)
    monkeypatch.setattr(writers, "FRAME_BYTES", 8_000)
    first = take(made(tmp_path), pieces(4, 5, 6_000))
    refusals: list[str] = []
    for at in range(100):
        store = LocalStore(tmp_path / "repo", Filling(at))
        repository = Repository.open(store, KEY, tmp_path / "cache")
        try:
            take(repository, pieces(100 + at, 20, 4_000))
        except StoreError as error:
            refusals.append(str(error))
        else:
            break
        finally:
            repository.close()
        assert opened(tmp_path, cache=False).snapshots() == [first]
    assert len(refusals) > 5
    assert all("No space left" in text and text.startswith(("packs/", "snaps/")) for text in refusals)
    repository = opened(tmp_path, cache=False)
    assert kept(repository, first) == b"".join(pieces(4, 5, 6_000))
    assert repository.index.unreadable == {}
    assert len(repository.snapshots()) == 2


def test_a_writer_that_failed_never_commits_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "PACK_BYTES", 1_000)
    made(tmp_path)
    store = LocalStore(tmp_path / "repo", Filling(0))
    repository = Repository.open(store, KEY, tmp_path / "cache")
    with Writer(repository) as writer:
        writer.put(os.urandom(5_000))
        with pytest.raises(StoreError, match="No space left"):
            writer.flush()
        store._disk = Disk()
        with pytest.raises(StoreError, match="No space left"):
            writer.finish(draft())
    assert repository.snapshots() == []


def test_packs_that_gc_has_marked_count_as_absent_without_being_told(tmp_path: Path) -> None:
    repository = made(tmp_path)
    take(repository, [b"old"])
    (old,) = repository.packs()
    mark = condemning.Mark(format=condemning.FORMAT, seq=1, elapsed_s=None, packs=(old.name,))
    assert condemning.write(repository.store, mark, [])
    with Writer(opened(tmp_path)) as writer:
        assert not writer.has(repository.keys.blob_id(b"old"))


def test_one_process_writes_at_a_time_and_each_gets_a_larger_number(tmp_path: Path) -> None:
    with writing.lock(tmp_path / "a") as first:
        with (
            pytest.raises(HoldfastError, match=f"process {os.getpid()} is at it") as caught,
            writing.lock(tmp_path / "a"),
        ):
            pass
        assert caught.value.kind == STATE_IN_USE
        with writing.lock(tmp_path / "b"):
            pass
    with writing.lock(tmp_path / "a") as second:
        assert second.epoch == first.epoch + 1


def test_a_lost_or_garbled_epoch_begins_again(tmp_path: Path) -> None:
    with writing.lock(tmp_path):
        pass
    (tmp_path / writing.EPOCH).write_bytes(b"\0garbage")
    with writing.lock(tmp_path) as held:
        assert held.epoch == 1
    with writing.lock(tmp_path) as held:
        assert held.epoch == 2


def _hold_and_die(directory: Path) -> None:
    with writing.lock(directory):
        os._exit(0)


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    child = get_context("fork").Process(target=_hold_and_die, args=(tmp_path,))
    child.start()
    child.join(90)
    assert child.exitcode == 0
    with writing.lock(tmp_path) as held:
        assert held.epoch == 2
