"""What is damaged or missing here is read in the second place, and put right here."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.state.checks import verify
from holdfast.state.second_place import second_place
from holdfast.state.second_place.upload import run
from holdfast.state.second_place.upload_queue import Queue
from holdfast.state.store import spare
from holdfast.state.store.damage import Damaged
from holdfast.state.store.disk import Disk
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository
from holdfast.state.store.spare import Spare
from tests.harness.snapshot_chain import AT, KEY, commit, contents


class Two:
    """A repository of three snapshots here, and the same in a second place."""

    def __init__(self, top: Path) -> None:
        self.home = top / "state" / "one"
        self.there = top / "disk"
        self.there.mkdir()
        self.here = LocalStore(self.home / "repo")
        repository = Repository.create(self.here, "one", KEY, encrypt=True)
        self.snapshots = [
            commit(repository, {"count": b"%d" % number * 50, "big": os.urandom(9000)}, at=AT + number)
            for number in range(3)
        ]
        self.whole = [contents(repository, one) for one in self.snapshots]
        with Queue(self.home) as queue:
            run(self.here, second_place.open_agent(str(self.there), "one"), queue, now_at=AT)
        self.told: list[str] = []

    def opened(self, disk: Disk | None = None) -> Repository:
        store = LocalStore(self.home / "repo", disk)
        found = Repository.open(store, KEY, self.home / "cache")
        found.spare = Spare(store, lambda: second_place.look_at(str(self.there), "one"), self.told.append)
        return found

    def packs(self) -> list[Path]:
        return sorted(path for path in (self.home / "repo" / "packs").rglob("*") if path.is_file())

    def aside(self) -> list[Path]:
        found = self.home / "repo" / "damaged"
        return sorted(found.iterdir()) if found.exists() else []


def _flip(path: Path, at: int = 60) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _footer(path: Path) -> None:
    _flip(path, -20)


def _read(repository: Repository, two: Two) -> None:
    for one in two.snapshots:
        contents(repository, one)


@pytest.mark.parametrize(
    ("harm", "warm"),
    [  # a footer is not read while the index knows what it says
        (_flip, False),
        (_cut_off, False),
        (_footer, False),
        (os.unlink, False),
        (_flip, True),
        (_cut_off, True),
        (os.unlink, True),
    ],
)
def test_packs_come_back_from_the_second_place(harm: Callable[[Path], None], warm: bool, tmp_path: Path) -> None:
    two = Two(tmp_path)
    if warm:
        repository = two.opened()
        repository.refresh()
        repository.close()
    before = {path: path.read_bytes() for path in two.packs()}
    for path in before:
        harm(path)
    repository = two.opened()
    assert [contents(repository, one) for one in two.snapshots] == two.whole
    assert verify.everything(repository).faults == []  # one without its end can be read while the index knows it
    repository.close()
    assert {path: path.read_bytes() for path in two.packs()} == before
    assert len(two.told) == len(before)
    assert len(two.aside()) == (0 if harm is os.unlink else len(before))
    two.there.rename(tmp_path / "unmounted")
    repository = two.opened()
    assert verify.everything(repository).faults == []
    repository.close()
    assert spare.forget_damaged(two.here, 3_600.0) == 0
    spare.forget_damaged(two.here, 0.0)
    assert two.aside() == []


@pytest.mark.parametrize("harm", [_flip, os.unlink])
def test_a_check_puts_right_what_it_meets_and_finds_nothing_wrong(harm: Callable[[Path], None], tmp_path: Path) -> None:
    two = Two(tmp_path)
    for path in two.packs():
        harm(path)
    repository = two.opened()
    assert verify.everything(repository).faults == []
    assert len(two.told) == len(two.packs()) == 3
    repository.close()


def test_a_damaged_manifest_comes_back_and_a_deleted_one_stays_deleted(tmp_path: Path) -> None:
    two = Two(tmp_path)
    first, second = (two.home / "repo" / "snaps" / one.name for one in two.snapshots[:2])
    _flip(first)
    second.unlink()
    repository = two.opened()
    assert [one.id for one in repository.snapshots()] == [two.snapshots[0].id, two.snapshots[2].id]
    assert contents(repository, two.snapshots[0]) == two.whole[0]
    with pytest.raises(StoreError):
        repository.manifest(two.snapshots[1])
    repository.spare = None
    assert contents(repository, two.snapshots[0]) == two.whole[0]
    repository.close()


def test_a_second_place_that_is_away_or_damaged_too_changes_nothing_here(tmp_path: Path) -> None:
    two = Two(tmp_path)
    (path, *_) = two.packs()
    _flip(path)
    spoiled = path.read_bytes()
    _flip(two.there / "agents" / "one" / path.relative_to(two.home / "repo"))
    for away in (False, True):
        if away:
            two.there.rename(tmp_path / "unmounted")
        repository = two.opened()
        with pytest.raises(Damaged):
            _read(repository, two)
        repository.close()
    assert path.read_bytes() == spoiled
    assert two.told == []
    assert two.aside() == []


def test_another_repository_there_is_not_believed(tmp_path: Path) -> None:
    two, other = Two(tmp_path), tmp_path / "other"
    other.mkdir()
    (other / "agents" / "one").mkdir(parents=True)
    Repository.create(LocalStore(other / "agents" / "one"), "one", KEY, encrypt=True)
    two.there = other
    for path in two.packs():
        path.unlink()
    repository = two.opened()
    with pytest.raises(StoreError):
        contents(repository, two.snapshots[0])
    assert repository.spare is not None
    assert "another repository" in repository.spare.why
    repository.close()


def test_on_a_full_disk_it_is_read_there_and_the_damaged_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = Two(tmp_path)
    for path in two.packs()[1:]:
        path.unlink()
    _flip(two.packs()[0])

    def full(disk: Disk, data: bytes, final: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "replace", full)
        repository = two.opened()
        got = []
        for one in two.snapshots:
            try:
                got.append(contents(repository, one))
            except Damaged:
                got.append({})
        repository.close()
    assert sum(one == whole for one, whole in zip(got, two.whole, strict=True)) == 2
    assert two.told == []
    assert len(two.packs()) == 1
    repository = two.opened()
    assert [contents(repository, one) for one in two.snapshots] == two.whole
    repository.close()


class _Killed(BaseException):
    pass


def test_killed_at_any_step_of_putting_right_the_next_reader_gets_it_all(tmp_path: Path) -> None:
    steps = ["keep_aside", "replace", "sync_directory", "sync", "write", "make_directory"]
    for name in steps:
        for after in (False, True):
            top = tmp_path / f"{name}-{after}"
            top.mkdir()
            two = Two(top)
            _flip(two.packs()[0])

            class Dying(Disk):
                pass

            def die(disk: Disk, *args: object, name: str = name, after: bool = after) -> object:
                if after:
                    getattr(Disk, name)(disk, *args)
                raise _Killed

            setattr(Dying, name, die)
            repository = two.opened(Dying())
            with pytest.raises(_Killed):
                _read(repository, two)
            repository.close()
            repository = two.opened()
            assert [contents(repository, one) for one in two.snapshots] == two.whole
            repository.close()
