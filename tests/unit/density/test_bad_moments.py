"""What the simulation of density found: small lives in which an act got lost, or two things came together."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from holdfast import limits
from holdfast.density import hibernation, semaphore
from holdfast.density.hibernation import Rest
from holdfast.density.model import (
    MB,
    Action,
    Freeze,
    Held,
    Kill,
    Lease,
    Phase,
    Protect,
    Reading,
    Shed,
    Spared,
    State,
    Step,
    Stop,
    Thaw,
    Want,
)
from tests.unit.density.fleet import reading, seen


def live(state: State, *readings: tuple[float, Reading]) -> tuple[State, list[Action]]:
    actions: list[Action] = []
    for now, read in readings:
        state, acts = semaphore.decide(state, read, now)
        actions += acts
    return state, actions


def kinds(actions: list[Action], *wanted: type) -> list[str]:
    return [f"{type(act).__name__} {getattr(act, 'agent', '')}" for act in actions if isinstance(act, wanted)]


def held_at(step: Step, now: float, **more: object) -> State:
    """One that is on its way out for another's need."""
    known = Held(usage_bytes=400 * MB, read_mono=now, slack_bytes=16 * MB, step=step, step_mono=now, **more)  # type: ignore[arg-type]
    return State(held={"low": known})


@pytest.mark.parametrize("braked", [False, True])
def test_a_freeze_that_got_lost_is_asked_for_again(braked: bool) -> None:
    state = held_at(Step.PAUSED, 0.0, deadline_mono=2.0, braked=braked, victim_of="low", pressing=True)
    full = reading(seen("top", 100, 1391), seen("low", 0, 400), ceilings=False)
    _, actions = live(state, (0.1, full))
    assert kinds(actions, Freeze, Kill) == ["Freeze low"]
    frozen = reading(seen("top", 100, 1391), seen("low", 0, 400, frozen=True), ceilings=False)
    assert kinds(live(state, (0.1, frozen))[1], Freeze, Thaw) == []


def test_a_new_instance_is_protected_anew_even_if_nobody_saw_the_former_one_go() -> None:
    def at(instance: int) -> Reading:
        return reading(seen("a", 100, 300, instance=instance), seen("b", 0, 300))

    state, actions = live(State(), (0.0, at(1)), (1.0, at(1)))
    assert "Protect a" in kinds(actions, Protect)
    assert kinds(live(state, (2.0, at(1)))[1], Protect) == []
    assert kinds(live(state, (2.0, at(2)))[1], Protect) == ["Protect a"]


def test_a_start_waits_its_own_time_before_anybody_goes_for_it() -> None:
    def at(now: float, name: str, priority: int, since: float) -> tuple[float, Reading]:
        want = Want(name=name, priority=priority, need_bytes=600 * MB, since_mono=since)
        return now, reading(seen("top", 100, 900), seen("low", 10, 500), want=want)

    early = [at(0.0, "equal", 10, 0.0), at(4.9, "equal", 10, 0.0), at(5.1, "high", 90, 5.1)]
    state, actions = live(State(), *early)
    assert kinds(actions, Shed) == []
    _, actions = live(state, at(5.1 + limits.START_NEED_PATIENCE_S, "high", 90, 5.1))
    assert len(kinds(actions, Shed)) == 1


def test_who_sleeps_is_neither_paused_nor_thawed_by_shedding() -> None:
    def at(now: float, top_mb: float) -> tuple[float, Reading]:
        asleep = seen("low", 0, 400, phase=Phase.HIBERNATING, frozen=True)
        return now, reading(seen("top", 100, top_mb), asleep)

    state, actions = live(State(), *(at(0.1 * n, 1360 + 20 * n) for n in range(5)))
    assert len(kinds(actions, Shed)) == 1
    assert kinds(actions, Freeze, Thaw, Kill) == []
    _, actions = live(state, at(0.5, 900), at(0.6, 900))
    assert kinds(actions, Spared, Thaw) == ["Spared low"]


def test_who_is_paused_is_killed_at_once_when_the_time_for_looking_into_it_runs_out() -> None:
    state = held_at(Step.PAUSED, 0.0, deadline_mono=0.4, victim_of="top")
    nearly = reading(seen("top", 100, 1700), seen("low", 0, 340, frozen=True))  # 8 MB are left
    eaten = State(held=state.held, over_mono=-1.0)
    assert kinds(live(eaten, (0.1, nearly))[1], Kill) == ["Kill low"]


@pytest.mark.parametrize(
    ("rest", "after_s", "may"),
    [
        (Rest(), 5.0, False),  # nobody saw it idle
        (Rest(idle_mono=90.0), 5.0, True),
        (Rest(idle_mono=98.0), 5.0, False),
        (Rest(idle_mono=50.0, woken_mono=97.0), 5.0, False),
        (Rest(idle_mono=60.0), 900.0, True),
        (Rest(idle_mono=80.0), 900.0, False),
        (Rest(asleep_mono=10.0), 5.0, False),
    ],
)
def test_who_was_just_woken_is_left_awake_also_when_memory_is_scarce(rest: Rest, after_s: float, may: bool) -> None:
    assert hibernation.rested(rest, after_s, 100.0) is may


@pytest.mark.parametrize(
    ("big_mb", "low_mb", "comes_mb_s", "grows_mb_s", "gone"),
    [
        (700, 400, 100, 0, ["big"]),  # all that is missing comes in time
        (700, 400, 0, 0, ["big", "low"]),  # it stalls: somebody else has to go
        (700, 400, 30, 0, ["big", "low"]),  # too slow
        (700, 400, 100, 80, ["big", "low"]),  # what comes is taken by another
        (1500, 20, 0, 0, ["big"]),  # it stalls, and nobody else could give what is missing
    ],
)
def test_a_node_that_was_made_smaller_waits_for_a_large_victim_unless_others_help_sooner(
    big_mb: int, low_mb: int, comes_mb_s: int, grows_mb_s: int, gone: list[str]
) -> None:
    def at(now: float) -> Reading:
        dying = [seen("big", 0, big_mb - comes_mb_s * max(0.0, now - 1.0), phase=Phase.LEAVING)]
        there = [seen("top", 100, 200 + grows_mb_s * now), seen("low", 50, low_mb)]
        there += [seen("big", 0, big_mb)] if now < 1.0 else dying
        return reading(*there, node=4000 * MB if now < 0.5 else 1000 * MB)

    _, actions = live(State(), *((step / 10, at(step / 10)) for step in range(35)))
    assert [act.victim for act in actions if isinstance(act, Shed)] == gone


@pytest.mark.parametrize(
    ("age_s", "lacks", "room"), [(0.0, True, False), (9.9, True, False), (10.0, True, True), (0.0, False, True)]
)
def test_the_room_that_is_made_for_a_start_is_kept_for_it_until_it_fits_or_waited_in_vain(
    age_s: float, lacks: bool, room: bool
) -> None:
    lone = Lease(usage_bytes=400 * MB, slack_bytes=0, wanted_bytes=0, ceiling_bytes=None)
    going = Held(step=Step.KILLING, victim_of="waits", leaving_mono=1.0)
    state = State(held={"low": going}, leases={"low": lone}, free_bytes=300 * MB, read_mono=1.0 + age_s)
    state = replace(state, want_mono=0.5 if lacks else None)
    assert semaphore.room(state) == (300 * MB if room else 0)


@pytest.mark.parametrize("needer", ["", "top"])
def test_who_goes_for_an_agent_that_runs_again_or_for_the_node_keeps_no_start_away(needer: str) -> None:
    lone = Lease(usage_bytes=400 * MB, slack_bytes=0, wanted_bytes=0, ceiling_bytes=None)
    going = Held(step=Step.KILLING, victim_of=needer, leaving_mono=1.0)
    state = State(
        held={"low": going}, leases={"low": lone, "top": lone}, free_bytes=300 * MB, read_mono=1.5, want_mono=0.5
    )
    assert semaphore.room(state) == 300 * MB


@pytest.mark.parametrize("asleep", [False, True])
def test_who_goes_for_a_start_that_can_wait_is_ended_gently_also_out_of_its_sleep(asleep: bool) -> None:
    phase = Phase.HIBERNATING if asleep else Phase.RUNNING
    want = Want(name="new", priority=90, need_bytes=900 * MB, since_mono=0.0)
    agents = (seen("low", 1, 1200, phase=phase, frozen=asleep), seen("high", 100, 200))
    state, ends, now = State(), [], 0.0
    while not ends and now < 20:
        state, actions = semaphore.decide(state, reading(*agents, want=want), now)
        ends += [act for act in actions if isinstance(act, Stop | Kill)]
        now += 0.05
    assert [type(act) for act in ends] == [Stop]


def test_a_new_keeper_takes_back_the_protection_that_the_former_one_wrote() -> None:
    alone = reading(seen("a", 100, 300))  # nobody less important is left, so nothing of it is to be protected
    state, actions = live(State(), (0.0, alone))
    assert [(act.agent, act.bytes) for act in actions if isinstance(act, Protect)] == [("a", 0)]
    assert kinds(live(state, (0.1, alone))[1], Protect) == []
