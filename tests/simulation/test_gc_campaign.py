"""No collection takes what a committed snapshot needs: by chance, killed at every step, and with bugs planted."""

import os

import pytest
from msgspec.structs import replace

from holdfast.limits import GC_WAIT_S
from holdfast.state.keeping import condemning, gc
from holdfast.state.store import names
from holdfast.state.store.repository import Repository
from tests.harness.memory_store import Killed, MemoryStore
from tests.harness.state_trees import read_snapshot, take
from tests.simulation.gc_campaign import KEY, Campaign

RUNS = int(os.environ.get("HOLDFAST_GC_RUNS", "12"))
STEPS = 40
PLANTED_RUNS_MAX = 60


def test_every_committed_snapshot_stays_readable_whatever_happens():
    deleted = 0
    for seed in range(RUNS):
        campaign = Campaign(seed)
        lost = campaign.run(STEPS)
        assert not lost, f"seed {seed}: {lost}"
        deleted += campaign.deleted_packs
    assert deleted > RUNS, "the campaign proves nothing where hardly anything is deleted"


def without_waiting(monkeypatch):
    monkeypatch.setattr(condemning, "is_ripe", lambda one, now: one.mark is not None)


def without_a_newer_snapshot(monkeypatch):
    plain = condemning.is_ripe
    monkeypatch.setattr(condemning, "is_ripe", lambda one, now: plain(one, replace(now, seq=10**9)))


def without_a_second_mark(monkeypatch):
    plain = gc.plan
    monkeypatch.setattr(
        gc,
        "plan",
        lambda looks, needed, condemned, at: replace(
            found := plain(looks, needed, condemned, at),
            unused=found.unused | (condemned & {look.name for look in looks}),
        ),
    )


def with_writers_that_trust_condemned_packs(monkeypatch):
    monkeypatch.setattr("holdfast.state.store.writer.condemned_packs", lambda store: frozenset())


@pytest.mark.parametrize(
    "plant",
    [
        without_waiting,
        without_a_newer_snapshot,
        without_a_second_mark,
        with_writers_that_trust_condemned_packs,
    ],
)
def test_a_planted_bug_is_caught(monkeypatch, plant):
    plant(monkeypatch)
    assert any(Campaign(seed).run(STEPS) for seed in range(PLANTED_RUNS_MAX))


def scene() -> tuple[MemoryStore, dict]:
    """Unused packs that are due, others that are not, small ones worth merging, and six snapshots."""
    store = MemoryStore()
    repository = Repository.create(store, "loop", KEY, encrypt=True)
    kept, gone = {}, []
    for number in range(12):
        content = {"a": b"always", f"f{number}": bytes([number]) * 3000}
        snapshot = take(repository, content, store.at)
        (kept.__setitem__ if number % 2 else gone.append)(snapshot, *((content,) if number % 2 else ()))
    for one in gone[:4]:
        store.delete(names.snapshot_object(one))
    gc.run(repository, store.at, elapsed_s=0.0, repack=False)
    for one in gone[4:]:
        store.delete(names.snapshot_object(one))
    store.at += GC_WAIT_S + 1
    content = {"last": b"x" * 500}
    kept[take(repository, content, store.at, condemning.condemned_packs(store))] = content
    return store, kept


def test_a_kill_before_any_change_leaves_every_snapshot_and_the_next_run_ends_the_work():
    store, kept = scene()
    begun = dict(store.objects)
    elapsed = GC_WAIT_S + 1
    step = 0
    while True:
        store.objects = dict(begun)
        changes = 0

        def before(act, name, step=step):
            nonlocal changes
            changes += 1
            if changes > step:
                raise Killed

        store.before_change = before
        try:
            gc.run(Repository.open(store, KEY), store.at, elapsed_s=elapsed)
            ended = True
        except Killed:
            ended = False
        store.before_change = lambda act, name: None
        for _ in range(2):
            repository = Repository.open(store, KEY)
            for snapshot, content in kept.items():
                assert read_snapshot(repository, snapshot) == content, f"killed before change {step}"
            assert not gc.run(repository, store.at, elapsed_s=elapsed).refused
        assert len([name for name in store.objects if name.startswith(names.PACKS)]) <= 11
        assert not condemning.left_clocks(store)
        step += 1
        if ended:
            break
    assert step > 8
