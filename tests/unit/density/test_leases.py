"""Leases as tables."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from holdfast import limits
from holdfast.density import leases
from holdfast.density.model import MB, Held, Lease, Phase, Reading, Seen, SetCeiling, Step
from tests.unit.density.fleet import NODE, RESERVE, reading, seen

BOUNDS = leases.slack_bounds(NODE, RESERVE)


def held_of(read: Reading, slack_mb: float = 16, **more: Held) -> dict[str, Held]:
    return {
        one.name: more.get(one.name, Held(usage_bytes=one.usage_bytes, slack_bytes=int(slack_mb * MB)))
        for one in read.agents
    }


def granted(read: Reading, **more: Held) -> leases.Granted:
    return leases.grant(read, held_of(read, **more), BOUNDS)


@pytest.mark.parametrize(
    ("node_mb", "least_mb", "most_mb"), [(24_000, 16, 256), (2048, 16, 256), (512, 4, 64), (100, 1, 16)]
)
def test_slack_is_smaller_on_small_nodes(node_mb: int, least_mb: int, most_mb: int) -> None:
    bounds = leases.slack_bounds(node_mb * MB, 256 * MB if node_mb > 600 else node_mb * MB // 2)
    assert (bounds.least_bytes, bounds.most_bytes) == (least_mb * MB, most_mb * MB)


def test_a_thousand_idle_agents_leave_room_for_the_next_one() -> None:
    few, many = leases.slack_bounds(24_000 * MB, 2_000 * MB, 100), leases.slack_bounds(24_000 * MB, 2_000 * MB, 1000)
    assert few == leases.slack_bounds(24_000 * MB, 2_000 * MB)
    assert many.least_bytes * 1000 <= 22_000 * MB // 4
    assert many.most_bytes == few.most_bytes, "who works is lent as much as ever"
    assert leases.slack_bounds(500 * MB, 100 * MB, 10_000).least_bytes == limits.SLACK_LEAST_BYTES


def test_the_budget_is_the_node_less_the_reserve_and_less_what_others_took() -> None:
    assert leases.budget(reading(seen("a"))) == NODE - RESERVE
    assert leases.budget(reading(seen("a"), others_mb=500)) == NODE - RESERVE - 500 * MB
    assert leases.budget(reading(seen("a"), node=10 * MB, reserve=20 * MB)) < 0


def test_memory_is_granted_from_the_highest_priority_down_and_among_equals_by_name() -> None:
    read = reading(seen("z", 90, 880), seen("b", 10, 440), seen("a", 10, 440))
    wants = {name: Held(usage_bytes=mb * MB, slack_bytes=20 * MB) for name, mb in (("z", 880), ("b", 440), ("a", 440))}
    found = leases.grant(read, wants, BOUNDS).leases
    assert [found[name].slack_bytes // MB for name in ("z", "a", "b")] == [20, 12, 0]


def test_the_last_of_equals_has_the_least_slack_before_the_first_has_room_to_spare() -> None:
    read = reading(seen("a", 50, 840), seen("b", 50, 400), seen("c", 50, 500))
    wants = {"a": Held(usage_bytes=840 * MB, slack_bytes=200 * MB)}
    found = granted(read, **wants).leases
    assert [found[name].slack_bytes // MB for name in "abc"] == [20, 16, 16]


def test_a_declared_minimum_comes_before_the_slack_of_an_equal() -> None:
    found = granted(reading(seen("a", 50, 840, floor_bytes=1000 * MB), seen("b", 50, 900))).leases
    assert [found[name].slack_bytes // MB for name in "ab"] == [52, 0]


def test_nobody_has_slack_when_more_is_used_than_there_is() -> None:
    read = reading(seen("a", 90, 900), seen("b", 10, 1000))
    found = granted(read)
    assert [lease.slack_bytes for lease in found.leases.values()] == [0, 0]
    assert found.free_bytes == -108 * MB


def test_half_of_what_nobody_asked_for_is_lent_to_those_who_hold_ceilings() -> None:
    read = reading(seen("top", 90, 100), seen("a", 10, 100), seen("b", 10, 100))
    found = granted(read)
    free = NODE - RESERVE - 348 * MB
    assert found.free_bytes == free
    assert found.leases["top"].slack_bytes == 16 * MB
    assert found.leases["a"].slack_bytes == found.leases["b"].slack_bytes == 16 * MB + free // 4


@pytest.mark.parametrize(
    ("agents", "protect_from", "names"),
    [
        ([("a", 100), ("b", 100), ("c", 3)], None, {"a", "b"}),
        ([("a", 100), ("b", 50), ("c", 3)], None, {"a"}),
        ([("a", 100), ("b", 50), ("c", 3)], 50, {"a", "b"}),
        ([("a", 50), ("b", 50)], None, set()),
        ([("a", 50), ("b", 50)], 10, set()),
        ([("a", 50)], None, set()),
    ],
)
def test_the_important_are_protected_while_anybody_lower_lives(
    agents: list[tuple[str, int]], protect_from: int | None, names: set[str]
) -> None:
    read = reading(*(seen(name, priority) for name, priority in agents), protect_from=protect_from)
    assert leases.protected(read) == names


@pytest.mark.parametrize("phase", [Phase.LEAVING, Phase.SHED])
def test_the_important_are_protected_by_those_who_give_way_and_by_those_who_did(phase: Phase) -> None:
    assert leases.protected(reading(seen("a", 90), seen("b", 90), seen("c", 10, 0, phase=phase))) == {"a", "b"}


@pytest.mark.parametrize(("lowest", "names"), [(10, {"a"}), (90, set()), (95, set())])
def test_the_important_are_protected_while_somebody_lower_waits_for_its_start(lowest: int, names: set[str]) -> None:
    assert leases.protected(reading(seen("a", 90), lowest=lowest)) == names


def test_a_shed_agent_of_the_same_or_a_higher_priority_protects_nobody() -> None:
    for priority in (50, 90):
        assert leases.protected(reading(seen("a", 50), seen("b", priority, 0, phase=Phase.SHED))) == frozenset()
    assert leases.protected(reading(seen("a", 90, 0, phase=Phase.SHED), seen("b", 50), seen("c", 10))) == {"b"}


def test_the_important_hold_no_ceiling_once_all_who_could_give_way_did() -> None:
    """In v1 a ceiling fails the calls of who stands at it: three gateways that fill a node must not die of that."""
    claws = [seen(name, 100, 590) for name in ("a", "b", "c")]
    found = granted(reading(*claws, seen("low", 10, 0, phase=Phase.SHED)))
    assert [lease.ceiling_bytes for lease in found.leases.values()] == [None, None, None]
    assert found.free_bytes < 48 * MB


def test_the_protected_hold_no_ceiling_and_the_others_do() -> None:
    found = granted(reading(seen("a", 90), seen("b", 10))).leases
    assert found["a"].ceiling_bytes is None
    assert found["b"].ceiling_bytes == found["b"].lease_bytes
    assert granted(reading(seen("a", 90), seen("b", 10), ceilings=False)).leases["b"].ceiling_bytes is None


@pytest.mark.parametrize(
    ("one", "want_mb"),
    [
        (seen("a"), 16),
        (seen("a", floor_bytes=150 * MB), 50),
        (seen("a", phase=Phase.STARTING, start_bytes=400 * MB), 300),
        (seen("a", phase=Phase.STARTING, start_bytes=400 * MB, limit_bytes=200 * MB), 100),
        (seen("a", limit_bytes=100 * MB), 0),
        (seen("a", phase=Phase.HIBERNATING), 0),
    ],
)
def test_slack_covers_the_start_and_the_declared_minimum_and_never_the_declared_limit(one: Seen, want_mb: int) -> None:
    assert leases.wanted(one, Held(usage_bytes=100 * MB, slack_bytes=16 * MB), BOUNDS) == want_mb * MB


def test_who_is_paused_to_go_wants_nothing() -> None:
    assert leases.wanted(seen("a"), Held(slack_bytes=16 * MB, step=Step.PAUSED), BOUNDS) == 0
    assert leases.wanted(seen("a"), Held(slack_bytes=16 * MB, step=Step.PAUSED, braked=True), BOUNDS) == 16 * MB


# --- slack follows growth ----------------------------------------------------------------------------------------
BEFORE = Held(usage_bytes=100 * MB, read_mono=1.0, slack_bytes=32 * MB)


@pytest.mark.parametrize(
    ("used_mb", "hits", "passed_s", "slack_mb", "pressing"),
    [
        (100, 0, 0.1, 28.8, False),
        (100, 0, 1.0, 16, False),
        (104, 0, 0.1, 32, True),
        (112, 0, 0.1, 64, True),
        (100, 1, 0.1, 64, True),
        (220, 0, 0.1, 120, True),
        (900, 0, 0.1, 256, True),
        (60, 0, 0.1, 28.8, False),
    ],
)
def test_slack_doubles_when_hit_or_outgrown_and_decays_when_idle(
    used_mb: float, hits: int, passed_s: float, slack_mb: float, pressing: bool
) -> None:
    after = leases.follow(BEFORE, seen("a", 50, used_mb, hits=hits), None, BOUNDS, 1.0 + passed_s)
    assert after.slack_bytes == pytest.approx(slack_mb * MB, rel=0.01)
    assert after.pressing is pressing


def test_two_readings_in_one_instant_and_a_clock_that_stands_do_no_harm() -> None:
    grew = leases.follow(BEFORE, seen("a", 50, 150), None, BOUNDS, 1.1)
    again = leases.follow(grew, seen("a", 50, 150), None, BOUNDS, 1.1)
    assert again.pressing
    assert again.rate_bytes_s == grew.rate_bytes_s
    assert again.growth_bytes == grew.growth_bytes


def test_an_agent_seen_for_the_first_time_has_no_growth() -> None:
    after = leases.follow(None, seen("a", 50, 900, hits=7), None, BOUNDS, 5.0)
    assert (after.rate_bytes_s, after.slack_bytes, after.hits, after.pressing) == (0.0, 16 * MB, 7, False)


def test_it_goes_on_pressing_while_it_stands_at_its_ceiling() -> None:
    held = Held(usage_bytes=100 * MB, read_mono=1.0, slack_bytes=32 * MB, pressing=True)
    stands = seen("a", 50, 100, ceiling_bytes=100 * MB)
    assert leases.follow(held, stands, None, BOUNDS, 1.1).pressing
    assert not leases.follow(held, seen("a", 50, 60, ceiling_bytes=100 * MB), None, BOUNDS, 1.1).pressing


# --- breath out of the reserve ------------------------------------------------------------------------------------
QUARTER = RESERVE // 4
FULL_MB = (NODE - RESERVE) // MB  # all of the budget


def tops(read: Reading, **more: Held) -> dict[str, int | None]:
    return {name: lease.ceiling_bytes for name, lease in granted(read, **more).leases.items()}


@pytest.mark.parametrize(
    ("missing_mb", "reserve_mb", "left_mb", "shares_mb"),
    [
        ([16], 256, 0, [16]),
        ([16, 16, 3], 256, 0, [16, 16, 3]),
        ([16] * 8, 256, 0, [8] * 8),
        ([16, 16], 256, 500, [16, 16]),
        ([16, 16], 256, -40, [12, 12]),
        ([16, 16], 256, -64, [0, 0]),
        ([16, 16], 256, -4000, [0, 0]),
        ([16], 0, 0, [0]),
        ([], 256, 0, []),
    ],
)
def test_all_breath_together_is_a_quarter_of_the_reserve_less_what_was_taken_of_it(
    missing_mb: list[int], reserve_mb: int, left_mb: int, shares_mb: list[int]
) -> None:
    missing = {str(place): size * MB for place, size in enumerate(missing_mb)}
    found = leases.breath(missing, reserve_mb * MB, left_mb * MB)
    assert [size // MB for size in found.values()] == shares_mb


def test_whoever_takes_little_has_a_ceiling_above_what_it_holds_though_nothing_is_left_to_grant() -> None:
    read = reading(seen("top", 100, FULL_MB - 300), seen("calm", 50, 100), seen("low", 0, 200))
    found = granted(read)
    assert [lease.slack_bytes for lease in found.leases.values()] == [0, 0, 0]
    assert tops(read) == {"top": None, "calm": 116 * MB, "low": 216 * MB}
    assert found.leases["calm"].short_bytes == 16 * MB, "it is still short of a lease: somebody less important goes"


@pytest.mark.parametrize(
    ("name", "held", "one", "breathes"),
    [
        ("works a bit", Held(pressing=True, rate_bytes_s=20.0 * MB), seen("low", 0, 200, ceiling_bytes=208 * MB), True),
        ("ran away", Held(pressing=True, rate_bytes_s=200.0 * MB), seen("low", 0, 200, ceiling_bytes=208 * MB), False),
        ("is through", Held(pressing=True), seen("low", 0, 200, ceiling_bytes=200 * MB), False),
        ("came here just so", Held(), seen("low", 0, 200, ceiling_bytes=200 * MB), True),
        ("is paused to go", Held(step=Step.PAUSED), seen("low", 0, 200), False),
        ("is being killed", Held(step=Step.KILLING), seen("low", 0, 200, phase=Phase.LEAVING), False),
        ("ends gracefully", Held(step=Step.STOPPING), seen("low", 0, 200, phase=Phase.LEAVING), True),
        ("has its limit", Held(), seen("low", 0, 200, limit_bytes=200 * MB), False),
    ],
)
def test_who_rushes_goes_or_may_have_no_more_gets_no_breath(name: str, held: Held, one: Seen, breathes: bool) -> None:
    read = reading(seen("top", 100, FULL_MB - 200), one)
    held = replace(held, usage_bytes=one.usage_bytes, slack_bytes=16 * MB)
    assert tops(read, low=held)["low"] == (216 if breathes else 200) * MB, name


@pytest.mark.parametrize("over_mb", [-30, 0, 30, 63, 64, 500])
@pytest.mark.parametrize("many", [1, 9])
def test_ceilings_allow_no_more_than_the_budget_and_a_quarter_of_the_reserve(many: int, over_mb: int) -> None:
    each = 20
    low = [seen(f"low{n}", n % 3, each) for n in range(many)]
    read = reading(seen("top", 100, FULL_MB - many * each + over_mb), *low)
    found = granted(read).leases
    allowed = sum(one.lease_bytes if one.ceiling_bytes is None else one.ceiling_bytes for one in found.values())
    assert allowed <= max(leases.budget(read) + QUARTER, sum(one.usage_bytes for one in read.agents))


def test_breath_is_written_like_slack() -> None:
    top = Lease(usage_bytes=100 * MB, slack_bytes=0, wanted_bytes=16 * MB, ceiling_bytes=116 * MB)
    assert leases.ceilings(reading(seen("a", ceiling_bytes=100 * MB)), {"a": top}) == [
        SetCeiling(agent="a", bytes=114 * MB)
    ]
    assert leases.ceilings(reading(seen("a", ceiling_bytes=113 * MB)), {"a": top}) == []


# --- what is written ---------------------------------------------------------------------------------------------
def lease(used_mb: int, slack_mb: int, ceiling: bool = True) -> Lease:
    most = (used_mb + slack_mb) * MB if ceiling else None
    return Lease(usage_bytes=used_mb * MB, slack_bytes=slack_mb * MB, wanted_bytes=0, ceiling_bytes=most)


def test_ceilings_are_lowered_before_any_is_raised() -> None:
    read = reading(seen("a", 90, ceiling_bytes=10 * MB), seen("b", 10, ceiling_bytes=900 * MB))
    acts = leases.ceilings(read, {"a": lease(100, 16), "b": lease(100, 16)})
    assert acts == [SetCeiling(agent="b", bytes=114 * MB), SetCeiling(agent="a", bytes=114 * MB)]


@pytest.mark.parametrize(("now_mb", "written"), [(116, False), (113, False), (111, True), (117, True), (None, True)])
def test_a_ceiling_that_still_fits_is_left_alone(now_mb: int | None, written: bool) -> None:
    now = None if now_mb is None else now_mb * MB
    acts = leases.ceilings(reading(seen("a", ceiling_bytes=now)), {"a": lease(100, 16)})
    assert bool(acts) is written


def test_the_declared_limit_holds_where_the_lease_would_be_larger() -> None:
    one = seen("a", ceiling_bytes=100 * MB, limit_bytes=110 * MB)
    assert leases.ceilings(reading(one), {"a": lease(100, 16)}) == [SetCeiling(agent="a", bytes=None)]
    gone = seen("a", ceiling_bytes=100 * MB)
    assert leases.ceilings(reading(gone), {"a": lease(100, 16, False)}) == [SetCeiling(agent="a", bytes=None)]


def test_all_of_an_important_agent_is_kept_and_the_minimum_of_the_others() -> None:
    held, acts = leases.protect(seen("a", floor_bytes=10 * MB), Held(), lease(100, 16), True)
    assert [(act.bytes // MB, act.floor_bytes // MB) for act in acts] == [(116, 10)]
    assert leases.protect(seen("a", floor_bytes=10 * MB), held, lease(105, 16), True)[1] == []
    _, acts = leases.protect(seen("a", floor_bytes=10 * MB), held, lease(100, 16), False)
    assert [act.bytes // MB for act in acts] == [10]


def test_one_that_no_kernel_can_hold_takes_nobody_elses_ceiling_away() -> None:
    found = granted(reading(seen("a", 90), seen("b", 10), seen("c", 10, holdable=False))).leases
    assert found["b"].ceiling_bytes is not None
    assert found["c"].ceiling_bytes is None
    assert not leases.all_held(reading(seen("b"), seen("c", holdable=False)))
    assert leases.all_held(reading(seen("b"), seen("c", phase=Phase.LEAVING, holdable=False)))


@pytest.mark.parametrize(
    ("step", "same"), [(Step.NONE, True), (Step.STOPPING, False), (Step.KILLING, False), (Step.PAUSED, False)]
)
def test_who_is_stopped_as_planned_keeps_the_room_it_worked_with_and_a_victim_does_not(step: Step, same: bool) -> None:
    """A gateway that drains its turns for minutes crawled at a ceiling just above what it held."""
    works = seen("gateway", 50, 800)
    ceilings = [
        granted(reading(one), gateway=replace(held_of(reading(one))["gateway"], step=held))
        .leases["gateway"]
        .ceiling_bytes
        for one, held in ((works, Step.NONE), (replace(works, phase=Phase.LEAVING), step))
    ]
    assert None not in ceilings
    assert (ceilings[1] == ceilings[0]) is same
