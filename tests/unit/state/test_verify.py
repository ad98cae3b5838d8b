"""Verification: whatever is spoiled is told by snapshot and path, with what remains restorable."""

import os
import random
import sqlite3

import pytest

from holdfast.state.checks import rehearsal, verify
from holdfast.state.store import names
from holdfast.state.store.repository import Repository
from tests.harness.memory_store import MemoryStore
from tests.harness.state_trees import take

KEY = bytes(32)
AT = 1_790_000_000.0


def noise(seed: int, size: int = 30_000) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def repository(store):
    return Repository.create(store, "loop", KEY, encrypt=True)


def pack_of(store: MemoryStore, before: set[str]) -> str:
    (name,) = {name for name in store.objects if name.startswith(names.PACKS)} - before
    return name


def test_a_whole_repository_is_said_to_be_whole(repository):
    take(repository, {"a": noise(1)}, AT)
    take(repository, {"a": noise(1), "d": {"b": noise(2)}}, AT)
    for found in (verify.closure(repository), verify.closure(repository, every=True), verify.everything(repository)):
        assert found.snapshots == found.restorable > 0
        assert found.faults == found.said == []
    assert verify.everything(repository).bytes > 60_000
    assert verify.sample(repository, part=0.5, seed=1).bytes > 0


def test_an_empty_repository_is_whole(repository, tmp_path):
    assert verify.closure(repository).faults == []
    assert verify.everything(repository).snapshots == 0
    assert verify.drill(repository, tmp_path / "drill").faults == []


def test_a_flipped_bit_is_told_by_snapshot_and_path_and_the_others_remain(repository, store):
    first = take(repository, {"a": noise(1)}, AT)
    before = set(store.objects)
    second = take(repository, {"a": noise(1), "d": {"b": noise(2)}}, AT)
    spoiled = pack_of(store, before)
    third = take(repository, {"a": noise(1), "d": {"b": noise(2)}, "c": b"."}, AT)
    store.damage(spoiled, 5000)
    found = verify.everything(Repository.open(store, KEY))
    assert {(one.snapshot, one.path) for one in found.faults} == {
        (second.id, "/srv/agent/d/b"),
        (third.id, "/srv/agent/d/b"),
    }
    assert (found.snapshots, found.restorable) == (3, 1)
    assert any(second.short in line and "d/b" in line for line in found.said)
    assert f"1 of 3 snapshots are not affected, the newest of them {first.short}" in found.said[-1]


def test_a_lost_pack_is_found_without_reading_contents(repository, store):
    first = take(repository, {"a": noise(1)}, AT)
    before = set(store.objects)
    second = take(repository, {"a": noise(1), "b": noise(2)}, AT)
    store.delete(pack_of(store, before))
    found = verify.closure(Repository.open(store, KEY))
    assert {one.snapshot for one in found.faults} == {second.id}
    assert first.short in found.said[-1]


def test_a_pack_that_was_cut_off_is_found(repository, store):
    before = set(store.objects)
    only = take(repository, {"a": noise(1)}, AT)
    name = pack_of(store, before)
    store.objects[name] = (store.objects[name][0][:-100], AT)
    found = verify.closure(Repository.open(store, KEY))
    assert {one.snapshot for one in found.faults} == {only.id}
    assert "no snapshot is unaffected" in found.said[-1]


@pytest.mark.parametrize("spoil", ["flip", "cut"])
def test_a_spoiled_manifest_is_told_and_hides_no_other(repository, store, spoil):
    first = take(repository, {"a": noise(1)}, AT)
    second = take(repository, {"a": noise(2)}, AT)
    name = names.snapshot_object(second)
    if spoil == "flip":
        store.damage(name, 60)
    else:
        store.objects[name] = (store.objects[name][0][:20], AT)
    found = verify.closure(repository)
    assert [one.snapshot for one in found.faults] == [second.id]
    found = verify.everything(repository)
    assert (found.snapshots, found.restorable) == (2, 1)
    assert first.short in found.said[-1]


def test_a_directory_that_cannot_be_read_is_told(repository, store):
    deep = {"d": {"f": b"x"}}
    take(repository, {"top": deep, "t": b"1"}, AT)
    before = set(store.objects)
    bad = take(repository, {"top": deep, "other": {"n": b"2"}}, AT)
    store.delete(pack_of(store, before))
    found = verify.everything(Repository.open(store, KEY))
    assert {(one.snapshot, one.path) for one in found.faults} == {(bad.id, "/srv/agent/")}


def database(tmp_path, rows: int = 2000) -> bytes:
    path = tmp_path / "made.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT UNIQUE)")
        db.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"row {n} " * 4) for n in range(rows)))
    db.close()
    return path.read_bytes()


def test_a_drill_restores_aside_and_checks_databases(repository, tmp_path):
    take(repository, {"a": noise(1), "d": {"s.db": database(tmp_path)}}, AT)
    found = verify.drill(repository, tmp_path / "drill")
    assert (found.restorable, found.faults) == (1, [])
    assert "1 databases passed" in found.said[0]
    assert not os.path.exists(tmp_path / "drill")


def test_a_drill_names_the_database_that_fails_its_check(repository, tmp_path):
    broken = bytearray(database(tmp_path))
    broken[4096 * 10 : 4096 * 11] = bytes(4096)
    snapshot = take(repository, {"d": {"s.db": bytes(broken)}}, AT)
    found = verify.drill(repository, tmp_path / "drill")
    assert (found.restorable, found.faults[0].path) == (0, "/srv/agent/d/s.db")
    assert snapshot.short in found.said[0]
    assert not os.path.exists(tmp_path / "drill")


def test_a_drill_of_a_damaged_snapshot_is_told_and_leaves_nothing(repository, store, tmp_path):
    before = set(store.objects)
    take(repository, {"a": noise(1)}, AT)
    store.damage(pack_of(store, before), 5000)
    found = verify.drill(Repository.open(store, KEY), tmp_path / "drill")
    assert found.restorable == 0
    assert "damaged" in found.faults[0].reason
    assert not os.path.exists(tmp_path / "drill")


def test_what_is_no_database_fails_its_check(tmp_path):
    (tmp_path / "x").write_bytes(b"SQLite format 3\0" + noise(1))
    assert rehearsal.check_database(os.fsencode(tmp_path / "x"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be shut in")
def test_as_root_a_database_is_taken_apart_by_nobody_who_sees_nothing_else(tmp_path, monkeypatch):
    def spy(path):
        return [str(os.geteuid()), str(os.listdir("/")), str(os.getgroups())]

    monkeypatch.setattr(rehearsal, "check_database", spy)
    (tmp_path / "x").write_bytes(b"y")
    (tmp_path / "aside").mkdir()
    found = rehearsal.check_aside(os.fsencode(tmp_path / "x"), tmp_path / "aside")
    assert found == ["65534", "['database']", "[]"]
    assert os.listdir(tmp_path) == ["aside"]
    assert os.listdir(tmp_path / "aside") == []


def test_a_database_that_is_no_longer_whole_fails_its_check_aside(tmp_path):
    with sqlite3.connect(tmp_path / "good") as base:
        base.execute("create table t (a)")
        base.executemany("insert into t values (?)", [("x" * 500,)] * 100)
    base.close()
    broken = bytearray((tmp_path / "good").read_bytes())
    broken[4096:8192] = bytes(4096)
    (tmp_path / "bad").write_bytes(broken)
    (tmp_path / "aside").mkdir(mode=0o711)
    assert rehearsal.check_aside(os.fsencode(tmp_path / "good"), tmp_path / "aside") == []
    assert rehearsal.check_aside(os.fsencode(tmp_path / "bad"), tmp_path / "aside")
