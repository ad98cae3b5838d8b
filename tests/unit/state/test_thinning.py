"""Rounds of thinning: trash and its time, the disk budget, and the record of ages that no clock can push on."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import HoldfastError
from holdfast.state.keeping import aging, budget, thinning, trash
from holdfast.state.keeping.aging import Reading, Times
from holdfast.state.keeping.retention import Held, Taking
from holdfast.state.model import Pin, Snapshot
from holdfast.state.store import names
from holdfast.state.store.repository import Repository
from tests.harness.memory_store import Killed, MemoryStore
from tests.harness.state_trees import read_snapshot, take

DAY = 86_400.0
START = 1_790_000_000.0


@pytest.fixture
def repository():
    return Repository.create(MemoryStore(), "loop", bytes(32), encrypt=True)


def reading(passed: float, offset: float = 0.0, boot: str = "a", trusted: bool = False) -> Reading:
    return Reading(boot=boot, up_s=1000.0 + passed, at=START + passed + offset, trusted=trusted)


def noise(seed: int, size: int = 20_000) -> bytes:
    return random.Random(seed).randbytes(size)


# --- the record of ages ---------------------------------------------------------------------------------------------
def test_within_a_boot_only_the_clock_that_nobody_can_set_counts():
    times = aging.advance(None, reading(0))
    assert aging.advance(times, reading(60, offset=3650 * DAY)).elapsed_s == 60
    assert aging.advance(times, reading(60, offset=-3650 * DAY)).elapsed_s == 60


def test_over_a_reboot_the_wall_clock_counts_where_it_was_kept_right_before_and_after():
    trusted = aging.advance(None, reading(0, trusted=True))
    assert aging.advance(trusted, reading(DAY, boot="b", trusted=True)).elapsed_s == DAY
    assert aging.advance(trusted, reading(DAY, boot="b")).elapsed_s == 0
    assert aging.advance(aging.advance(None, reading(0)), reading(DAY, boot="b", trusted=True)).elapsed_s == 0
    assert aging.advance(trusted, reading(-DAY, boot="b", trusted=True)).elapsed_s == 0
    assert aging.advance(trusted, reading(3650 * DAY, boot="b", trusted=True)).elapsed_s == 30 * DAY


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e9, 1e9), st.booleans()), max_size=30))
@settings(max_examples=100, deadline=None)
def test_an_age_is_never_more_than_the_true_one(events):
    times, true, boot, up = None, 0.0, 0, 0.0
    for passed, offset, reboot in events:
        true += passed
        boot, up = (boot + 1, 0.0) if reboot else (boot, up + passed)
        times = aging.observe(
            aging.advance(times, Reading(boot=str(boot), up_s=up, at=true + offset, trusted=False)), ["one"]
        )
        assert aging.age_s(times, "one") <= true + 1e-3


def test_a_lost_or_spoiled_record_makes_everything_young(tmp_path):
    path = tmp_path / "times"
    times = aging.observe(aging.advance(None, reading(0)), ["one"])
    aging.save(path, times)
    assert aging.load(path) == times
    path.write_bytes(b"{")
    assert aging.load(path) is None
    assert aging.age_s(aging.advance(None, reading(9e9)), "one") == 0


# --- trash ----------------------------------------------------------------------------------------------------------
def test_a_deleted_snapshot_can_be_had_back_for_a_week_whatever_the_clock_says(repository, tmp_path):
    content = {"a": noise(1)}
    first = take(repository, content, START)
    take(repository, {"a": noise(2)}, START + 1)
    trashed = trash.remove(repository, first, START)
    assert trashed.deadline == START + 7 * DAY
    thinning.thin(repository, tmp_path, reading(0))
    for jump in (3650 * DAY, -365 * DAY, 0.0):
        assert thinning.thin(repository, tmp_path, reading(6 * DAY, jump)).expired == []
    assert trash.restore(repository, trash.find(repository, first.id[:8])) == first
    assert read_snapshot(repository, first) == content
    trash.remove(repository, first, START + 6 * DAY)
    assert thinning.thin(repository, tmp_path, reading(7 * DAY)).expired == []
    assert thinning.thin(repository, tmp_path, reading(14 * DAY + 1)).expired == [first.id]
    with pytest.raises(HoldfastError, match="no snapshot"):
        trash.find(repository, first.id)


def test_a_deadline_of_a_clock_that_ran_ahead_does_not_keep_trash_for_ever(repository, tmp_path):
    first = take(repository, {"a": noise(1)}, START)
    take(repository, {"a": noise(2)}, START + 1)
    trash.remove(repository, first, START + 3650 * DAY)
    thinning.thin(repository, tmp_path, reading(0))
    assert thinning.thin(repository, tmp_path, reading(29 * DAY)).expired == []
    assert thinning.thin(repository, tmp_path, reading(31 * DAY)).expired == [first.id]


def test_a_whole_agent_goes_and_comes_back(repository):
    every = [take(repository, {"a": noise(n)}, START + n) for n in range(3)]
    gone = trash.remove_all(repository, START + 9)
    assert {one.deadline for one in gone} == {START + 9 + 30 * DAY}
    assert repository.snapshots() == []
    trash.restore_all(repository)
    assert repository.snapshots() == every


@pytest.mark.parametrize("step", [0, 1])
def test_a_kill_while_a_snapshot_moves_leaves_it_in_one_place_at_least(repository, step):
    first = take(repository, {"a": noise(1)}, START)
    for move in (lambda: trash.remove(repository, first, START), lambda: trash.restore_all(repository)):
        left = step

        def before(act, name):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        repository.store.before_change = before
        with pytest.raises(Killed):
            move()
        repository.store.before_change = lambda act, name: None
        assert repository.snapshots() or repository.trashed()
        move()
    assert repository.snapshots() == [first]
    assert repository.trashed() == []


# --- the disk budget ------------------------------------------------------------------------------------------------
def held(count: int, every_s: float) -> list[Held]:
    return [
        Held(Snapshot(id=f"{n:032x}", seq=n, epoch=1, at=START + n * every_s, name=str(n)), (count - n) * every_s)
        for n in range(1, count + 1)
    ]


def test_the_budget_thins_no_more_than_it_must_and_never_what_is_pinned_newest_or_one_a_day():
    every = held(4 * 24 * 6, 600.0)
    spans = {(one.snapshot.seq, one.snapshot.seq): 10 for one in every}
    pins = [Pin(id=every[100].snapshot.id, why="known-good")]
    assert budget.plan(every, pins, spans, 0).taken == []
    some = budget.plan(every, pins, spans, 1000)
    assert some.enough
    assert some.freed_bytes >= 1000
    most = budget.plan(every, pins, spans, 10**9)
    assert not most.enough
    taken = {one.snapshot.id for one in most.taken}
    assert {one.snapshot.id for one in some.taken} < taken
    stays = [one for one in every if one.snapshot.id not in taken]
    assert every[100] in stays
    assert stays[-3:] == every[-3:]
    days = [one.snapshot.at for one in stays]
    assert max(later - earlier for earlier, later in pairwise(days)) <= DAY


def test_what_others_hold_is_not_counted_as_freed():
    assert budget.freed_bytes({(1, 1): 5, (1, 3): 7, (2, 2): 1, (2, 3): 2}, [1, 2, 3], {2, 3}) == 3
    assert budget.freed_bytes({(1, 1): 5, (1, 3): 7}, [1, 2, 3], {1, 3}) == 5


def test_a_repository_over_its_budget_is_thinned_early_and_says_so(repository, tmp_path):
    for number in range(40):
        take(repository, {"a": noise(number)}, START + number * 600)
        thinning.look(tmp_path, repository, reading(number * 600.0))
    found = thinning.thin(repository, tmp_path, reading(40 * 600.0), budget_bytes=400_000)
    assert found.early
    assert {one.snapshot.id for one in found.early} == set(found.expired)
    assert "thinned early" in found.said[0]
    assert all(isinstance(one, Taking) for one in found.early)
    live = repository.snapshots()
    assert live[-1].seq == 40
    again = thinning.thin(repository, tmp_path, reading(40 * 600.0 + 60), budget_bytes=400_000)
    assert again.early == []  # unused packs wait for gc; thinning more would not hurry it


def test_what_cannot_be_kept_within_the_budget_is_said(repository, tmp_path):
    take(repository, {"a": noise(1, 100_000)}, START)
    found = thinning.thin(repository, tmp_path, reading(0), budget_bytes=1000)
    assert found.early == []
    assert "cannot be kept" in found.said[0]
    assert len(repository.snapshots()) == 1


def test_the_ordinary_rule_puts_into_trash_for_a_day(repository, tmp_path):
    every = [take(repository, {"a": noise(n, 100)}, START + n * 60) for n in range(10)]
    thinning.look(tmp_path, repository, reading(0))
    found = thinning.thin(repository, tmp_path, reading(2 * DAY))
    assert [one.snapshot for one in found.taken] == every[1:7]
    assert len(repository.trashed()) == 6
    assert thinning.thin(repository, tmp_path, reading(3 * DAY + 2)).expired == [one.id for one in every[1:7]]


def test_the_record_is_of_the_format_that_is_read():
    assert Times(last=reading(0)).format == aging.FORMAT
    assert names.read_pin("x") is None
