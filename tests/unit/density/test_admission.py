"""The queue of starts as tables."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.density.admission import (
    Starting,
    Waiting,
    admit,
    disk_keeps_out,
    flat,
    peaks_kept,
    pressed,
    settled,
    start_need,
)

MB = 1_000_000


def wait(name: str, priority: int = 50, since: float = 0.0, need_mb: int = 100, slots: float = 1.0) -> Waiting:
    return Waiting(name=name, priority=priority, since_mono=since, slots=slots, need_bytes=need_mb * MB)


def let(*waiting: Waiting, room_mb: int = 1000, cores: int = 2, now: float = 5.0, **more: Any) -> Any:
    return admit(waiting, more.get("starting", ()), room_mb * MB, 1500 * MB, cores, more.get("paused", ""), now)


@pytest.mark.parametrize(
    ("declared", "peak", "default", "limit", "need"),
    [
        (100, 500, 50, None, 100),
        (None, 500, 50, None, 600),
        (None, None, 1300, None, 1300),
        (None, 500, None, 550, 550),
        (None, None, None, None, 250 * MB),
    ],
)
def test_a_start_needs_what_is_declared_else_what_was_seen_else_what_its_recipe_says(
    declared: int | None, peak: int | None, default: int | None, limit: int | None, need: int
) -> None:
    assert start_need(declared, peak, default, limit) == need


@pytest.mark.parametrize(
    ("waiting", "names"),
    [
        ([wait("a"), wait("b", 90)], ("b", "a")),
        ([wait("a", since=2.0), wait("b", since=1.0)], ("b", "a")),
        ([wait("b"), wait("a")], ("a", "b")),
        ([wait("a"), wait("b"), wait("c")], ("a", "b")),
        ([wait("a"), wait("b"), wait("c", slots=0.0)], ("a", "b", "c")),
        ([wait("a", need_mb=900), wait("b", need_mb=200)], ("a",)),
        ([wait("a", 90, need_mb=1200), wait("b", 10)], ()),
        ([wait("a", 90, need_mb=1600), wait("b", 10)], ("b",)),
    ],
)
def test_starts_go_by_priority_then_waiting_time_then_name_as_far_as_both_last(
    waiting: list[Waiting], names: tuple[str, ...]
) -> None:
    assert let(*waiting).names == names


def test_a_light_start_passes_one_that_the_cpu_keeps_out_but_not_one_that_memory_keeps_out() -> None:
    busy = (Starting(name="s", slots=2.0, since_mono=0.0),)
    light = wait("light", 10, slots=0.0)
    assert let(wait("heavy", 90), light, starting=busy).names == ("light",)
    assert let(wait("heavy", 90, need_mb=1200), light).names == ()


def test_who_is_held_for_a_reason_of_its_own_is_passed_and_told() -> None:
    held = Waiting(name="a", priority=90, since_mono=0.0, slots=1.0, need_bytes=MB, held="its disk is full")
    found = let(held, wait("b", 10))
    assert found.names == ("b",)
    assert [(one.why, one.estimate_s) for one in found.standings] == [("its disk is full", None)]


def test_memory_is_foreseen_where_leases_of_starts_come_back() -> None:
    under_way = (Starting(name="s", slots=0.0, since_mono=0.0, start_s=12.0, lease_bytes=900 * MB),)
    found = let(wait("a", need_mb=1000), wait("b", need_mb=1000), room_mb=200, starting=under_way).standings
    assert [one.estimate_s for one in found] == [7.0, 17.0]
    assert let(wait("a", need_mb=1400), room_mb=200, starting=under_way).standings[0].estimate_s is None


@pytest.mark.parametrize(
    ("share", "free_gb", "files_left", "over", "out"),
    [
        (0.90, 1.0, True, False, False),  # warned of
        (0.96, 1.0, True, False, True),
        (0.96, 80.0, True, False, False),  # a large disk
        (0.90, 80.0, True, True, True),  # the one that fills it
        (0.80, 1.0, True, True, False),
        (0.10, 80.0, False, False, True),
    ],
)
def test_a_nearly_full_disk_keeps_starts_out_after_it_was_warned_of(
    share: float, free_gb: float, files_left: bool, over: bool, out: bool
) -> None:
    assert disk_keeps_out(share, int(free_gb * 1e9), files_left, 0.85, over) is out


@pytest.mark.parametrize(
    ("before", "peak", "whole", "kept"),
    [
        ((), 0, True, ()),
        ((), 80, False, (80,)),
        ((100,), 120, False, (100, 120)),
        ((100,), 60, True, (100, 60)),
        ((100,), 60, False, (100,)),
        ((952, 900, 910, 905, 899), 893, True, (900, 910, 905, 899, 893)),
    ],
)
def test_the_peaks_of_the_last_few_whole_starts_are_kept(
    before: tuple[int, ...], peak: int, whole: bool, kept: tuple[int, ...]
) -> None:
    assert peaks_kept(before, peak, whole) == kept


@pytest.mark.parametrize(
    ("since", "room_mb", "names", "why"),
    [
        (0.0, 350, (), "needs 100 MB to start, 50 MB are free beside what is kept for shed, which comes back first"),
        (0.0, 450, ("low",), ""),
        (0.0, 250, (), "waits behind shed"),
        (-9.0, 250, ("low",), ""),  # there was no room for it for long
    ],
)
def test_room_is_kept_for_one_that_was_shed_from_whoever_is_less_important(
    since: float, room_mb: int, names: tuple[str, ...], why: str
) -> None:
    shed = Waiting(name="shed", priority=30, since_mono=since, slots=0.0, need_bytes=300 * MB, returns=True)
    found = let(shed, wait("low", 10), room_mb=room_mb)
    assert found.names == names
    assert [(one.name, one.position, one.why) for one in found.standings] == ([] if names else [("low", 2, why)])
    assert found.want is None
    assert let(shed, wait("high", 90), room_mb=room_mb).names == ("high",)


def test_others_pass_one_that_waited_long_for_memory_in_vain() -> None:
    large, small = wait("large", 90, need_mb=1200), wait("small", 10)
    assert let(large, small, now=9.0).names == ()
    assert let(large, small, now=11.0).names == ("small",)


def test_the_first_that_only_memory_keeps_out_is_a_need() -> None:
    want = let(wait("a", 90, need_mb=1200), wait("b", 80, need_mb=1300)).want
    assert (want.name, want.priority, want.need_bytes) == ("a", 90, 1200 * MB)
    assert let(wait("a", need_mb=1600)).want is None
    assert let(wait("a", need_mb=1200), paused="memory pressure").want is None


def test_everybody_who_waits_is_told_why_at_which_place_and_for_how_long() -> None:
    under_way = (Starting(name="s", slots=2.0, since_mono=0.0, start_s=12.0),)
    standings = let(wait("a"), wait("b"), starting=under_way).standings
    assert [(one.position, one.estimate_s) for one in standings] == [(1, 7.0), (2, 17.0)]
    assert "start slot" in standings[0].why
    memory = let(wait("a", need_mb=1200), wait("b", need_mb=10, slots=0.0)).standings
    assert "needs 1.2 GB" in memory[0].why
    assert memory[0].estimate_s is None
    assert memory[1].why == "waits behind a"
    assert "whole node" in let(wait("a", need_mb=1600)).standings[0].why
    assert let(wait("a"), paused="memory pressure").standings[0].why == "memory pressure"


def test_a_start_that_hangs_gives_its_slots_back() -> None:
    under_way = (Starting(name="s", slots=2.0, since_mono=-1000.0),)
    assert let(wait("a"), starting=under_way).names == ("a",)


@pytest.mark.parametrize(
    ("ready", "flat_s", "age_s", "over"),
    [(True, 3.0, 5.0, True), (True, 2.0, 5.0, False), (False, 60.0, 60.0, False), (False, 0.0, 90.0, True)],
)
def test_a_start_lease_is_given_back_when_ready_and_flat_or_after_its_time(
    ready: bool, flat_s: float, age_s: float, over: bool
) -> None:
    assert settled(ready, flat_s, 0.0, age_s) is over
    assert flat(1 * MB)
    assert not flat(50.0 * MB)


@pytest.mark.parametrize(
    ("ready", "flat_s", "age_s", "over"),
    [(False, 0.0, 120.0, False), (False, 3.0, 120.0, True), (True, 0.0, 120.0, True), (False, 0.0, 200.0, True)],
)
def test_a_start_that_still_grows_keeps_its_lease_until_its_own_time_is_over(
    ready: bool, flat_s: float, age_s: float, over: bool
) -> None:
    assert settled(ready, flat_s, 0.0, age_s, budget_mono=200.0) is over


def test_pressure_pauses_admission_with_hysteresis() -> None:
    assert [pressed(False, 0.15, 0.1), pressed(True, 0.15, 0.1), pressed(True, 0.05, 0.1)] == [False, True, False]


def test_where_much_is_left_somebody_at_a_ceiling_keeps_nobody_from_starting() -> None:
    assert [pressed(before, 0.9, left) for before in (False, True) for left in (0.24, 0.26)] == [True, False] * 2


@pytest.mark.parametrize(
    ("now", "could_mb", "wanted"),
    [
        (9.0, {3: 300, 1: 100}, "large"),  # who is before it in the line may come to an end yet
        (11.0, {3: 300, 1: 100}, "small"),
        (11.0, {3: 500, 1: 100}, "large"),  # it can be helped, and comes first
        (11.0, {3: 300, 1: 69}, "large"),  # nobody can be helped
        (11.0, None, "large"),
    ],
)
def test_a_start_for_which_nobody_can_make_room_hides_none_who_could_be_helped(
    now: float, could_mb: dict[int, int] | None, wanted: str
) -> None:
    line = [wait("large", 3, need_mb=500), wait("small", 1, need_mb=70)]
    could = (lambda priority: could_mb[priority] * MB) if could_mb else None
    want = admit(line, [], 50 * MB, 1000 * MB, 8, "", now, could).want
    assert want is not None
    assert want.name == wanted
