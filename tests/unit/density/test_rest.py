"""Hibernation, replicas, capacity and the node's memory as tables."""

from __future__ import annotations

import pytest

from holdfast.density import capacity, hibernation, node_memory, replicas
from holdfast.density.hibernation import Rest, Signs, Sleep, Wake
from holdfast.density.model import MB
from holdfast.density.node_memory import Declared, Group

QUIET = Signs(says_idle=None, tasks=0, calls=0, connections=0, cpu_share=0.0)


@pytest.mark.parametrize(
    ("signs", "idle"),
    [
        (QUIET, True),
        (Signs(says_idle=True), True),
        (Signs(), False),
        (Signs(cpu_share=0.0), False),
        (Signs(says_idle=True, tasks=1), False),
        (Signs(says_idle=False, tasks=0, cpu_share=0.0), False),
        (Signs(tasks=0, cpu_share=0.5), False),
        (Signs(tasks=0), False),
        (Signs(connections=2, says_idle=True), False),
        (Signs(says_idle=True, healthy=False), False),
        (Signs(says_idle=True, wanted=True), False),
    ],
)
def test_idle_is_known_and_never_guessed(signs: Signs, idle: bool) -> None:
    assert hibernation.idle(signs) is idle


@pytest.mark.parametrize(
    ("signs", "why"),
    [
        (QUIET, ""),
        (Signs(says_idle=True), ""),
        (Signs(), "it gives no sign of being idle: it does not say so (X_IDLE=1) and listens on no TCP port"),
        (Signs(cpu_share=0.0), "it gives no sign of being idle"),
        (Signs(says_idle=False, connections=2), "it says that it works"),
        (Signs(tasks=2), "2 tasks of its own not done yet"),
        (Signs(says_idle=True, calls=1), "1 call to a model under way"),
        (Signs(connections=2, cpu_share=0.0), "2 TCP connections to it or from it open"),
        (Signs(says_idle=True, connections=1), "1 TCP connection to it open"),
        (Signs(connections=0), "the CPU it takes is not known yet"),
        (Signs(connections=0, cpu_share=0.123), "it takes 12% of a core, 5% or more count as work"),
        (Signs(says_idle=True, healthy=False), "it may not be put to sleep now"),
        (Signs(says_idle=True, wanted=True), "it is asked for"),
    ],
)
def test_who_is_not_idle_is_told_why(signs: Signs, why: str) -> None:
    told = hibernation.keeps_awake(signs)
    assert told.startswith(why) if why else not told
    assert hibernation.idle(signs) is not bool(told)


def sleeps(signs: Signs, rest: Rest, now: float, action: hibernation.Action = "freeze", scarce: bool = False) -> object:
    return hibernation.decide(rest, signs, action, 900.0, 1.0, scarce, now)[1]


def test_an_agent_sleeps_when_it_was_idle_long_enough_or_sooner_when_memory_is_scarce() -> None:
    idle = Rest(idle_mono=0.0)
    assert sleeps(QUIET, idle, 899.0) == ()
    assert sleeps(QUIET, idle, 900.0) == (Sleep(how="freeze"),)
    assert sleeps(QUIET, idle, 900.0, "none") == ()
    assert sleeps(QUIET, idle, 31.0, scarce=True) == (Sleep(how="freeze"),)
    assert sleeps(QUIET, Rest(idle_mono=0.0, woken_mono=20.0), 31.0, scarce=True) == ()


def test_nobody_sleeps_through_its_schedule() -> None:
    soon = Signs(says_idle=True, next_schedule_s=20.0)
    assert sleeps(soon, Rest(idle_mono=0.0), 5000.0) == ()


@pytest.mark.parametrize(
    ("signs", "why"),
    [
        (Signs(wanted=True), "it is asked for"),
        (Signs(tasks=1), "a task waits"),
        (Signs(connections=1), "somebody connects"),
        (Signs(next_schedule_s=0.5), "its schedule is due"),
    ],
)
def test_a_sleeping_agent_wakes_for_work(signs: Signs, why: str) -> None:
    asleep = Rest(asleep_mono=0.0, how="freeze")
    rest, acts = hibernation.decide(asleep, signs, "freeze", 900.0, 1.0, False, 50.0)
    assert acts == (Wake(why=why),)
    assert rest.woken_mono == 50.0
    assert hibernation.decide(asleep, QUIET, "freeze", 900.0, 1.0, False, 50.0) == (asleep, ())


# --- replicas ----------------------------------------------------------------------------------------------------
BOUNDS = replicas.Bounds(least=1, most=5, per_queue_depth=10)


@pytest.mark.parametrize(
    ("count", "depth", "fits", "running", "now", "after"),
    [
        (1, 30.0, 9, 1, 100.0, 2),
        (2, 50.0, 9, 2, 100.0, 4),
        (2, 50.0, 1, 2, 100.0, 3),
        (2, 50.0, 0, 2, 100.0, 2),
        (2, 50.0, 9, 1, 100.0, 2),
        (2, 50.0, 9, 2, 10.0, 2),
        (2, 20.0, 9, 2, 100.0, 2),
        (2, None, 9, 2, 100.0, 2),
        (9, None, 9, 9, 100.0, 5),
        (0, None, 0, 0, 100.0, 1),
        (3, 0.0, 9, 3, 100.0, 3),
    ],
)
def test_replicas_follow_the_queue_within_bounds_memory_and_pace(
    count: int, depth: float | None, fits: int, running: int, now: float, after: int
) -> None:
    state = replicas.Scale(count=count, changed_mono=0.0)
    assert replicas.decide(state, BOUNDS, depth, fits, running, now)[0].count == after


def test_a_time_in_which_nobody_knows_the_queue_is_no_calm() -> None:
    state, _ = replicas.decide(replicas.Scale(count=4, changed_mono=0.0), BOUNDS, 5.0, 9, 4, 100.0)
    state, _ = replicas.decide(state, BOUNDS, None, 9, 4, 200.0)
    assert replicas.decide(state, BOUNDS, 5.0, 9, 4, 401.0)[1] == ()


def test_replicas_go_down_only_after_a_long_calm_and_each_change_says_why() -> None:
    state, acts = replicas.decide(replicas.Scale(count=4, changed_mono=0.0), BOUNDS, 5.0, 9, 4, 100.0)
    assert acts == ()
    burst, _ = replicas.decide(state, BOUNDS, 40.0, 9, 4, 200.0)
    assert burst.low_mono is None
    state, acts = replicas.decide(state, BOUNDS, 5.0, 9, 4, 401.0)
    assert [(act.before, act.after) for act in acts] == [(4, 1)]
    assert acts[0].why


# --- capacity ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "more", "by"),
    [
        (capacity.Kind(name="a", steady_bytes=100 * MB, start_bytes=100 * MB, readings=9), 7, "memory"),
        (capacity.Kind(name="a", steady_bytes=100 * MB, start_bytes=1300 * MB, readings=9), 0, "start"),
        (capacity.Kind(name="a", steady_bytes=100 * MB, start_bytes=500 * MB, readings=9), 4, "start"),
        (capacity.Kind(name="a", steady_bytes=10 * MB, start_bytes=0, cpu=0.5), 2, "cpu"),
        (capacity.Kind(name="a", steady_bytes=10 * MB, start_bytes=0, disk_bytes=300 * MB), 3, "disk"),
    ],
)
def test_capacity_names_what_limits(kind: capacity.Kind, more: int, by: str) -> None:
    free = capacity.Free(memory_bytes=900 * MB, cores=1.0, disk_bytes=1000 * MB)
    found = capacity.fits([kind], free, 16 * MB)[0]
    assert (found.more, found.limited_by, found.sure) == (more, by, kind.readings > 0)
    assert found.why


def test_capacity_never_says_that_an_agent_uses_no_cores_at_all() -> None:
    free = capacity.Free(memory_bytes=900 * MB, cores=0.01, disk_bytes=1000 * MB)
    kind = capacity.Kind(name="a", steady_bytes=10 * MB, start_bytes=0, cpu=0.004)
    found = capacity.fits([kind], free, 16 * MB)[0]
    assert found.why == "each uses less than 0.01 cores on average, 0.01 are free"


# --- the node ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("node_mb", "declared_mb", "reserve_mb"),
    [(24_000, None, 1920), (2048, None, 256), (400, None, 100), (2048, 64, 64), (100, 500, 100)],
)
def test_the_reserve_is_256_mb_or_8_percent_and_at_most_a_quarter(
    node_mb: int, declared_mb: int | None, reserve_mb: int
) -> None:
    declared = None if declared_mb is None else declared_mb * MB
    assert node_memory.reserve(node_mb * MB, declared) == reserve_mb * MB


@pytest.mark.parametrize(
    ("groups", "memory_mb", "kind", "size_mb"),
    [
        ([], None, "machine", 8000),
        ([Group(path="/x", limit_bytes=None)], None, "machine", 8000),
        ([Group(path="/x/y", limit_bytes=3000 * MB), Group(path="/x", limit_bytes=2000 * MB)], None, "group", 2000),
        ([Group(path="/x", limit_bytes=2**63 - 4096)], None, "machine", 8000),
        ([Group(path="/x", limit_bytes=2000 * MB)], 1000, "declared", 1000),
        ([Group(path="/x", limit_bytes=2000 * MB)], 4000, "group", 2000),
    ],
)
def test_the_node_is_the_tightest_of_machine_group_and_declaration(
    groups: list[Group], memory_mb: int | None, kind: str, size_mb: int
) -> None:
    node = node_memory.which(8000 * MB, groups, None if memory_mb is None else memory_mb * MB)
    assert (node.kind, node.bytes) == (kind, size_mb * MB)
    assert node.why


def test_a_fleet_that_cannot_fit_is_told_whose_minimum_is_not_kept_and_who_is_larger_than_the_node() -> None:
    node = node_memory.which(2048 * MB)
    fleet = [
        Declared(name="b", priority=10, floor_bytes=1000 * MB),
        Declared(name="a", priority=90, floor_bytes=1000 * MB),
        Declared(name="c", priority=1, need_bytes=1800 * MB),
    ]
    found = node_memory.check(node, fleet)
    assert [(one.code, one.agents) for one in found] == [("floors", ("b",)), ("larger", ("c",))]
    assert all(one.text and one.next for one in found)
    assert node_memory.check(node, fleet[:1]) == ()
    assert [one.code for one in node_memory.check(node_memory.which(30 * MB), [])] == ["small"]
