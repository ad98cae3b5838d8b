"""Planted bugs of the behaviour level: each a wrong rule in the place of the right one. The campaign must catch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from holdfast.healing import model as m
from holdfast.healing import triage
from holdfast.health import beats
from holdfast.health.model import Judgement, Verdict
from holdfast.keeper.watching.behaviour import failing_of
from tests.simulation.subject import RULES, Doors

BUGS: dict[str, Callable[[], Doors]] = {}


def bug(make: Callable[[], Doors]) -> Callable[[], Doors]:
    BUGS[make.__name__] = make
    return make


def saying(patch: Callable[[beats.Told], beats.Told]) -> Doors:
    """Understands what was said wrongly."""
    return Doors(hear=lambda was, told, rules: beats.hear(was, patch(told), rules))


@bug
def counts_beats_whose_cycle_stands() -> Doors:
    return saying(lambda told: told._replace(cycles=()))


@bug
def kills_while_busy_is_declared() -> Doors:
    return saying(lambda told: told._replace(busy_s=None))


@bug
def kills_while_idle_is_declared() -> Doors:
    return saying(lambda told: told._replace(idle=None))


@bug
def does_not_hear_that_it_is_broken() -> Doors:
    return saying(lambda told: told._replace(trigger=False))


@bug
def busy_is_not_capped() -> Doors:
    return Doors(rules=RULES._replace(busy_max_s=1e12))


@bug
def busy_is_capped_at_a_minute() -> Doors:
    return Doors(rules=RULES._replace(busy_max_s=60.0))


@bug
def enforces_before_the_first_beat() -> Doors:
    def fresh(instance: int, since_mono: float) -> beats.Beats:
        return beats.Beats(instance=instance, since_mono=since_mono, begun=True, due_from_mono=since_mono)

    return Doors(fresh=fresh)


@bug
def unknown_heals_after_the_socket_was_lost() -> Doors:
    return Doors(deafened=beats.gap)


@bug
def silence_counts_while_we_were_away() -> Doors:
    return Doors(gap=lambda was, now: was)


@bug
def a_single_missed_beat_is_a_failure() -> Doors:
    def judge(known: beats.Beats, rules: beats.Rules, now: float, *, beat_before: bool) -> Any:
        return beats.judge(known, rules._replace(beat_s=30.0), now, beat_before=beat_before)

    return Doors(judge=judge)


@bug
def a_count_that_begins_anew_never_counts() -> Doors:
    def hear(was: beats.Beats, told: beats.Told, rules: beats.Rules) -> beats.Beats:
        higher = tuple(number for number in told.cycles if was.cycle is None or number >= was.cycle)
        return beats.hear(was, told._replace(cycles=higher or (was.cycle or 0,)), rules)

    return Doors(hear=hear)


@bug
def never_heard_since_its_start_is_failing() -> Doors:
    def judge(known: beats.Beats, rules: beats.Rules, now: float, *, beat_before: bool) -> Any:
        word, detail = beats.judge(known, rules, now, beat_before=True)
        return (Judgement.FAILING if "no beat yet, though" in detail else word), detail

    return Doors(judge=judge)


@bug
def a_good_endpoint_hides_what_misbehaves() -> Doors:
    def decide(state: m.Ladder, seen: Any, policy: m.Policy, now: float, roll: float) -> Any:
        if type(seen) is m.Checked and seen.verdict is Verdict.OK and state.misbehaves:
            state = replace(state, misbehaves=False)
        return triage.decide(state, seen, policy, now, roll)

    return Doors(decide=decide)


@bug
def a_good_endpoint_outweighs_bad_behaviour() -> Doors:
    def decide(state: m.Ladder, seen: Any, policy: m.Policy, now: float, roll: float) -> Any:
        if type(seen) is m.Behaved and seen.failing and policy.has_gate and not state.strikes:
            return state, ()
        return triage.decide(state, seen, policy, now, roll)

    return Doors(decide=decide)


@bug
def what_works_less_well_is_failing() -> Doors:
    def failing(held: Any, blamed: Any, gone: str) -> dict[str, str]:
        worse = [replace(one, judgement=Judgement.FAILING) if "says" in one.detail else one for one in held]
        return failing_of(worse, blamed, gone)

    return Doors(failing=failing)


@bug
def a_gap_is_taken_for_a_beat() -> Doors:
    return Doors(gap=lambda was, now: replace(beats.gap(was, now), counted_mono=now))


@bug
def being_busy_excuses_no_silence_elsewhere() -> Doors:
    return Doors(excuse=lambda known, rules, now: beats.excuse(known, rules, now).replace("busy", ""))


@bug
def being_idle_excuses_no_silence_elsewhere() -> Doors:
    return Doors(excuse=lambda known, rules, now: beats.excuse(known, rules, now).replace("idle", ""))


@bug
def counts_that_begin_anew_twice_are_taken_for_a_stuck_one() -> Doors:
    def hear(was: beats.Beats, told: beats.Told, rules: beats.Rules) -> beats.Beats:
        return beats.hear(replace(was, doubtful=max(was.doubtful, beats.DOUBTFUL_MAX - 1)), told, rules)

    return Doors(hear=hear)


@bug
def what_is_not_known_is_failing() -> Doors:
    def failing(held: Any, blamed: Any, gone: str) -> dict[str, str]:
        return {one.source: one.detail for one in held if one.judgement in (Judgement.FAILING, Judgement.UNKNOWN)}

    return Doors(failing=failing)
