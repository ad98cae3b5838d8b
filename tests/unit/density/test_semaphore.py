"""The RAM semaphore's door: small lives of a node, told as tables of who goes, how, and who comes back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast import limits
from holdfast.density import coming_back, easing, semaphore
from holdfast.density.model import (
    MB,
    Action,
    Ask,
    ComeBack,
    Freeze,
    Held,
    Hibernate,
    Kill,
    PageOut,
    Phase,
    Reading,
    Seen,
    Shed,
    Spared,
    Starved,
    State,
    Step,
    Stop,
    Thaw,
    Want,
)
from tests.unit.density.fleet import NODE, reading, seen


def live(*readings: tuple[float, Reading], state: State | None = None) -> tuple[State, list[Action]]:
    """Decide one after another; all actions."""
    state = state or State()
    actions: list[Action] = []
    for now, read in readings:
        state, acts = semaphore.decide(state, read, now)
        actions += acts
    return state, actions


def kinds(actions: list[Action], *wanted: type) -> list[Any]:
    return [act for act in actions if isinstance(act, wanted)]


def spike(*low: Seen, top_mb: int = 900, **more: Any) -> list[tuple[float, Reading]]:
    """An important agent grows into a node that is full."""
    return [(0.1 * n, reading(seen("top", 100, top_mb + 20 * n), *low, **more)) for n in range(5)]


LOW = (seen("mid", 10, 400, ceiling_bytes=400 * MB), seen("low", 0, 450, ceiling_bytes=450 * MB))


def test_the_least_important_goes_for_a_starving_need_and_the_record_says_why() -> None:
    _, actions = live(*spike(*LOW))
    record = kinds(actions, Shed)[0]
    assert (record.victim, record.victim_priority) == ("low", 0)
    assert record.usage_bytes == 450 * MB
    assert record.reason
    assert {act.agent for act in kinds(actions, Freeze)} == {"low"}


def test_nobody_goes_for_a_hiccup() -> None:
    steps = spike(*LOW, top_mb=880)
    calm = reading(seen("top", 100, 880), *LOW)
    _, actions = live(steps[0], steps[1], (0.15, calm), (1.0, calm), (2.0, calm))
    assert kinds(actions, Shed) == []


def test_a_second_victim_waits_for_what_the_first_gives_back() -> None:
    state, _ = live(*spike(*LOW))
    gone = (LOW[0], replace(LOW[1], phase=Phase.LEAVING))
    later = [(0.5 + 0.1 * n, reading(seen("top", 100, 980 + n), *gone)) for n in range(1, 12)]
    _, actions = live(*later, state=state)
    assert kinds(actions, Shed) == []


def test_a_second_victim_goes_when_nothing_of_the_first_comes() -> None:
    state, _ = live(*spike(*LOW))
    gone = (LOW[0], replace(LOW[1], phase=Phase.LEAVING))
    later = [(0.5 + 0.1 * n, reading(seen("top", 100, 980 + 4 * n), *gone)) for n in range(1, 40)]
    _, actions = live(*later, state=state)
    assert [act.victim for act in kinds(actions, Shed)] == ["mid"]


def test_who_was_paused_is_spared_when_room_came_and_is_not_paused_again_soon() -> None:
    state, _ = live(*((0.1 * n, reading(seen("top", 100, 900 + 10 * n), *LOW)) for n in range(8)))
    assert state.held["low"].step is Step.PAUSED
    assert state.held["low"].victim_of == "top"
    frozen = (seen("mid", 10, 100), replace(LOW[1], frozen=True))
    state, actions = live((0.8, reading(seen("top", 100, 300), *frozen)), state=state)
    assert [type(act) for act in kinds(actions, Thaw, Spared)] == [Thaw, Spared]
    assert state.held["low"].rested_mono > 0.8
    assert state.held["low"].sheds_mono == ()


def test_a_slow_need_lets_its_victim_end_gracefully() -> None:
    slow = [(0.1 * n, reading(seen("top", 100, 925 + 2.2 * n), *LOW)) for n in range(14)]
    _, actions = live(*slow)
    frozen = kinds(actions, Freeze)
    assert frozen
    assert [type(act) for act in kinds(actions, Stop, Kill)] == [Stop]


def test_a_kill_that_was_lost_is_asked_for_again() -> None:
    state, _ = live(*spike(*LOW))
    last = [(0.5 + 0.5 * n, reading(seen("top", 100, 990 + n), *LOW)) for n in range(1, 8)]
    _, actions = live(*last, state=state)
    assert len([act for act in kinds(actions, Kill) if act.agent == "low"]) >= 2


def test_an_equal_or_the_needer_itself_goes_only_after_long_patience() -> None:
    def at(now: float, hits: int) -> tuple[float, Reading]:
        one = seen("big", 50, 1200, ceiling_bytes=1200 * MB, hits=hits)
        return now, reading(one, seen("small", 50, 592, ceiling_bytes=592 * MB))

    steps = [at(0.25 * n, n) for n in range(21)]
    _, early = live(*steps[:16])
    _, late = live(*steps)
    assert kinds(early, Shed) == []
    assert [(act.victim, act.needer) for act in kinds(late, Shed)] == [("big", "big")]


def test_without_a_kernel_that_holds_it_who_outruns_its_lease_is_paused_and_let_go_in_time() -> None:
    def at(now: float, used: float, frozen: bool = False) -> tuple[float, Reading]:
        return now, reading(seen("top", 100, 1200), seen("low", 0, used, frozen=frozen), ceilings=False)

    state, actions = live(at(0.0, 480), at(0.1, 560), at(0.15, 560, True))
    assert [act.agent for act in kinds(actions, Freeze)] == ["low"]
    _, actions = live(at(0.2, 200, True), state=state)
    assert [act.agent for act in kinds(actions, Thaw)] == ["low"]


def test_whoever_was_found_frozen_after_a_crash_goes_on() -> None:
    _, actions = live((5.0, reading(seen("a", 50, 100, frozen=True))))
    assert [act.agent for act in kinds(actions, Thaw)] == ["a"]
    asleep = seen("a", 50, 100, frozen=True, phase=Phase.HIBERNATING)
    assert kinds(live((5.0, reading(asleep)))[1], Thaw) == []


def test_memory_that_others_took_makes_the_least_important_go_and_never_the_most_important() -> None:
    def at(now: float) -> tuple[float, Reading]:
        return now, reading(seen("top", 100, 400), seen("low", 0, 400), others_mb=1150)

    _, actions = live(*(at(0.05 * n) for n in range(6)))
    assert [act.victim for act in kinds(actions, Shed)] == ["low"]
    alone = [(0.05 * n, reading(seen("top", 100, 400), others_mb=1500)) for n in range(60)]
    assert kinds(live(*alone)[1], Shed) == []


def test_a_start_that_only_the_less_important_keep_out_gets_its_room() -> None:
    want = Want(name="new", priority=100, need_bytes=300 * MB, since_mono=0.0)
    steps = [(0.5 * n, reading(seen("a", 50, 900), seen("low", 0, 800), want=want)) for n in range(12)]
    assert kinds(live(*steps[:9])[1], Shed) == []
    assert [(act.victim, act.needer) for act in kinds(live(*steps)[1], Shed)] == [("low", "new")]
    vain = replace(want, need_bytes=1700 * MB)
    steps = [(0.5 * n, reading(seen("a", 50, 900), seen("low", 0, 800), want=vain)) for n in range(30)]
    shed = kinds(live(*((now, replace(read, want=replace(vain, priority=20))) for now, read in steps))[1], Shed)
    assert shed == []


def test_a_starved_ladder_is_told_once_when_it_begins_and_once_when_it_ends() -> None:
    def at(now: float, hits: int, others: int) -> tuple[float, Reading]:
        low = seen("low", 0, 700, ceiling_bytes=700 * MB, hits=hits)
        return now, reading(seen("top", 100, 100), low, others_mb=others)

    _, actions = live(at(0, 0, 990), at(0.1, 1, 990), at(0.2, 2, 990), at(0.3, 2, 0), at(0.4, 2, 0))
    assert [(act.agent, act.on) for act in kinds(actions, Starved)] == [("low", True), ("low", False)]


def test_anything_may_be_read_at_any_time() -> None:
    odd = [
        reading(),
        reading(seen("a", 50, 0)),
        reading(seen("a", 50, 100), node=0, reserve=0),
        reading(seen("a", 50, 5000)),
        reading(*(seen("a", 50, 10, phase=phase) for phase in Phase)),
    ]
    for read in odd:
        for other in odd:
            live((0.0, read), (0.0, other), (9.0, read))


def test_the_same_reading_gives_the_same_answer() -> None:
    assert live(*spike(*LOW)) == live(*spike(*LOW))


# --- when to look ------------------------------------------------------------------------------------------------
def test_it_looks_seldom_while_all_is_calm_and_often_while_memory_is_short() -> None:
    state, _ = live((0.0, reading(seen("a", 50, 100))), (1.0, reading(seen("a", 50, 100))))
    assert state.due_mono - 1.0 >= 0.5
    state, _ = live(*spike(*LOW)[:3])
    assert state.due_mono - 0.2 <= limits.TICK_TIGHT_S + 1e-9


# --- soft steps --------------------------------------------------------------------------------------------------
def test_soft_steps_take_the_least_important_first_and_leave_the_busy_important_alone() -> None:
    agents = (
        seen("top", 100, 900, can_ask=True),
        seen("idle", 10, 300, idle=True, may_hibernate=True),
        seen("page", 5, 200, idle=True, can_page=True),
        seen("ask", 0, 240, can_ask=True),
    )
    held = {one.name: Held() for one in agents}
    read = reading(*agents, swap_free_bytes=NODE)
    after, acts = easing.look(read, held, 1792 * MB, -200 * MB, 100.0)
    assert [(type(act), act.agent) for act in acts] == [(Ask, "ask"), (PageOut, "page"), (Hibernate, "idle")]
    assert easing.look(read, after, 1792 * MB, -200 * MB, 101.0)[1] == []
    without = easing.look(replace(read, swap_free_bytes=0), held, 1792 * MB, -200 * MB, 100.0)[1]
    assert [act.agent for act in without] == ["ask", "idle"]


# --- coming back -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("times", "wait_s"), [(0, 2), (1, 2), (2, 4), (4, 16), (9, 300), (19, 300)])
def test_who_is_shed_again_and_again_waits_longer_and_never_for_ever(times: int, wait_s: float) -> None:
    assert coming_back.wait_s((99.0,) * times, 100.0) == wait_s
    assert coming_back.wait_s((0.0,) * times, 10_000.0) == limits.BACK_FIRST_S


def shed(name: str, priority: int, need_mb: int) -> Seen:
    return seen(name, priority, 0, phase=Phase.SHED, start_bytes=need_mb * MB, shed_mono=0.0)


def test_the_more_important_comes_back_first_and_its_room_is_kept_for_it() -> None:
    read = reading(shed("low", 0, 300), shed("high", 90, 1500), seen("a", 50, 100))
    back = coming_back.look(read, {}, {}, 1792 * MB, 1676 * MB, 10.0)
    assert set(back.room_mono) == {"high"}
    later = coming_back.look(read, {}, back.room_mono, 1792 * MB, 1676 * MB, 12.0)
    assert later.actions == (ComeBack(agent="high"),)


def test_room_that_went_away_in_between_counts_anew() -> None:
    read = reading(shed("low", 0, 300), seen("a", 50, 100))
    first = coming_back.look(read, {}, {}, 1792 * MB, 1000 * MB, 10.0)
    none = coming_back.look(read, {}, first.room_mono, 1792 * MB, 10 * MB, 11.0)
    again = coming_back.look(read, {}, none.room_mono, 1792 * MB, 1000 * MB, 12.5)
    assert none.room_mono == {}
    assert again.actions == ()


def test_a_start_that_finds_no_room_for_long_keeps_nobody_away_who_would_fit() -> None:
    want = Want(name="fat", priority=0, need_bytes=264 * MB, since_mono=10.0)
    read = reading(shed("low", 0, 137), seen("a", 50, 100), want=want)
    assert coming_back.look(read, {}, {}, 800 * MB, 219 * MB, 12.0).room_mono == {}
    assert set(coming_back.look(read, {}, {}, 800 * MB, 219 * MB, 21.0).room_mono) == {"low"}


def test_one_who_fills_the_node_comes_back_to_an_empty_one() -> None:
    read = reading(shed("huge", 0, 1792))
    assert "huge" in coming_back.look(read, {}, {}, 1792 * MB, 1792 * MB, 1.0).room_mono
