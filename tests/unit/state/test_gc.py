"""Collecting unused packs: what is condemned, when it is deleted, and when nothing is."""

import random
from array import array

import pytest

from holdfast.limits import GC_WAIT_S
from holdfast.state.keeping import condemning, gc, trash
from holdfast.state.keeping.gc import Look, plan
from holdfast.state.store import names
from holdfast.state.store.repository import Repository
from tests.harness.memory_store import MemoryStore
from tests.harness.state_trees import read_snapshot, take

KEY = bytes(32)
DAY = 86_400.0


def noise(seed: int, size: int = 20_000) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def repository(store):
    return Repository.create(store, "loop", KEY, encrypt=True)


def packs(store: MemoryStore) -> set[str]:
    return {name for name in store.objects if name.startswith(names.PACKS)}


def look(name: str, live: list[int], size: int = 2_000_000, total: int = 100, live_bytes: int = 100) -> Look:
    return Look(name=name, size=size, changed_at=0.0, total_bytes=total, live_bytes=live_bytes, live=array("I", live))


def test_each_needed_blob_keeps_one_pack_and_the_others_are_unused():
    found = plan([look("a", [0, 1]), look("b", [1]), look("c", [])], 2, frozenset(), 0.0)
    assert found.unused == {"b", "c"}
    assert found.missing == ()


def test_condemned_packs_give_way_to_what_was_written_again_but_come_back_when_alone():
    found = plan([look("a", [0, 1]), look("b", [0], live_bytes=10)], 2, frozenset({"a"}), 0.0)
    assert found.unused == frozenset()
    found = plan([look("a", [0]), look("b", [0])], 1, frozenset({"a"}), 0.0)
    assert found.unused == {"a"}


def test_blobs_in_no_pack_are_told():
    assert plan([look("a", [1])], 3, frozenset(), 0.0).missing == (0, 2)


def test_packs_that_are_mostly_dead_and_many_small_old_ones_are_written_again():
    sparse = look("sparse", [0], live_bytes=40)
    small = [look(f"s{n}", [n], size=1000) for n in range(1, 9)]
    assert plan([sparse, *small], 9, frozenset(), 7200.0).rewrite == ("sparse", *(f"s{n}" for n in range(1, 9)))
    assert plan([sparse, *small[:7]], 8, frozenset(), 7200.0).rewrite == ("sparse",)
    assert plan([sparse, *small], 9, frozenset(), 60.0).rewrite == ()


def test_an_unused_pack_goes_after_a_day_and_a_newer_snapshot_and_not_before(repository, store):
    kept = {"a": noise(1)}
    gone = take(repository, {"b": noise(2)}, store.at)
    first = take(repository, kept, store.at)
    before = packs(store)
    trash.remove(repository, gone, store.at)
    assert gc.run(repository, store.at, repack=False).waiting_bytes == 0  # trash is needed
    for one in repository.trashed():
        store.delete(one.object_name)
    answer = gc.run(repository, store.at, repack=False)
    assert (answer.freed_bytes, answer.refused, answer.next_at) == (0, "", store.at + GC_WAIT_S)
    assert answer.waiting_bytes > 0
    store.at += GC_WAIT_S + 1
    assert gc.run(repository, store.at, repack=False).freed_bytes == 0  # no newer snapshot
    take(repository, {"a": noise(1), "c": noise(3)}, store.at, condemning.condemned_packs(store))
    dry = gc.run(repository, store.at, dry_run=True, repack=False)
    assert dry.freed_bytes > 0
    assert before <= packs(store)
    answer = gc.run(repository, store.at, repack=False)
    assert answer.freed_bytes == dry.freed_bytes
    assert len(before - packs(store)) == answer.packs == 1
    assert not [name for name in store.objects if name.startswith(condemning.GC)]
    assert read_snapshot(Repository.open(store, KEY), first) == kept


def test_a_dry_run_changes_nothing(repository, store):
    take(repository, {"b": noise(2)}, store.at)
    for name in list(store.objects):
        if name.startswith(names.SNAPS):
            store.delete(name)
    before = dict(store.objects)
    assert gc.run(repository, store.at, dry_run=True).waiting_bytes > 0
    assert store.objects == before


def test_a_clock_that_jumps_deletes_nothing_where_time_is_counted(repository, store):
    take(repository, {"b": noise(2)}, store.at)
    for one in repository.snapshots():
        store.delete(names.snapshot_object(one))
    take(repository, {"a": noise(1)}, store.at)
    gc.run(repository, store.at, elapsed_s=1000.0, repack=False)
    store.at += 3650 * DAY
    take(repository, {"a": noise(4)}, store.at, condemning.condemned_packs(store))
    assert gc.run(repository, store.at, elapsed_s=1060.0, repack=False).freed_bytes == 0
    assert gc.run(repository, store.at, elapsed_s=1000.0 + GC_WAIT_S, repack=False).freed_bytes > 0


def test_a_mark_from_clocks_that_were_lost_or_set_back_is_written_anew(repository, store):
    take(repository, {"b": noise(2)}, store.at)
    for one in repository.snapshots():
        store.delete(names.snapshot_object(one))
    take(repository, {"a": noise(1)}, store.at)
    gc.run(repository, store.at, elapsed_s=9e9, repack=False)
    take(repository, {"a": noise(4)}, store.at)
    store.at -= 365 * DAY
    assert gc.run(repository, store.at, elapsed_s=5.0, repack=False).freed_bytes == 0
    (mark,) = condemning.marks(store)
    assert mark.mark is not None
    assert mark.mark.elapsed_s == 5.0
    store.at += GC_WAIT_S
    take(repository, {"a": noise(5)}, store.at)
    assert gc.run(repository, store.at, elapsed_s=5.0 + GC_WAIT_S, repack=False).freed_bytes > 0


@pytest.mark.parametrize("damage", ["flip", "cut", "name"])
def test_an_unreadable_manifest_is_named_and_nothing_is_deleted(repository, store, damage):
    take(repository, {"b": noise(2)}, store.at)
    for one in repository.snapshots():
        store.delete(names.snapshot_object(one))
    take(repository, {"a": noise(1)}, store.at)
    gc.run(repository, store.at, repack=False)
    store.at += GC_WAIT_S + 1
    bad = take(repository, {"a": noise(3)}, store.at, condemning.condemned_packs(store))
    name = names.snapshot_object(bad)
    if damage == "flip":
        store.damage(name, 40)
    elif damage == "cut":
        store.objects[name] = (store.objects[name][0][:30], store.at)
    else:
        store.objects[name + "x"] = store.objects.pop(name)
    before = dict(store.objects)
    answer = gc.run(repository, store.at)
    assert bad.short in answer.refused or bad.name in answer.refused
    assert store.objects == before


def test_a_pack_that_cannot_be_read_is_left_alone_and_named(repository, store):
    take(repository, {"a": noise(1)}, store.at)
    (name,) = packs(store)
    store.damage(name)
    take(repository, {"b": noise(2)}, store.at)
    other = Repository.open(store, KEY)
    answer = gc.run(other, store.at)
    assert name in store.objects
    assert answer.refused or name.rpartition("/")[2] in answer.trouble[0]


def test_small_packs_are_merged_and_the_old_ones_go_a_day_later(repository, store):
    content: dict[str, bytes] = {}
    taken = {}
    for number in range(12):
        content[f"f{number}"] = noise(number, 3000)
        taken[take(repository, content, store.at)] = dict(content)
        store.at += 60
    store.at += 4000
    answer = gc.run(repository, store.at)
    assert answer.repacked == 12
    assert len(packs(store)) == 13
    store.at += GC_WAIT_S + 1
    content["new"] = noise(99)
    taken[take(repository, content, store.at, condemning.condemned_packs(store))] = dict(content)
    assert gc.run(repository, store.at).packs == 12
    assert len(packs(store)) == 2
    fresh = Repository.open(store, KEY)
    for snapshot, expected in taken.items():
        assert read_snapshot(fresh, snapshot) == expected
        assert read_snapshot(repository, snapshot) == expected


def test_packs_that_the_first_place_has_are_kept_at_the_second(repository, store):
    take(repository, {"b": noise(2)}, store.at)
    for one in repository.snapshots():
        store.delete(names.snapshot_object(one))
    first = frozenset(name.rpartition("/")[2] for name in packs(store))
    gc.run(repository, store.at, keep=first)
    assert condemning.condemned_packs(store) == frozenset()


def test_a_mark_with_a_changed_byte_condemns_nothing():
    mark = condemning.Mark(format=1, seq=3, elapsed_s=None, packs=("0" * 32,))
    data = condemning.encode(mark)
    assert condemning.decode(data) == mark
    for place in range(len(data) - 1):
        spoiled = bytearray(data)
        spoiled[place] ^= 1
        assert condemning.decode(bytes(spoiled)) is None
