"""Planted bugs: each a wrong rule, put in front of or behind the right one. Its campaign must catch it.

A bug names the invariant it is expected to break; any violation catches it. The rules themselves are never changed:
`plant` returns the three doors (decide, permit, admit) with one of them spoilt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from holdfast.density import admission
from holdfast.healing import actions, triage
from holdfast.healing import model as m
from holdfast.healing.model import Ladder, Phase, Policy, Tier
from holdfast.health.model import Verdict


class Doors(NamedTuple):
    decide: Callable[..., Any] = triage.decide
    permit: Callable[..., Any] = triage.permit
    admit: Callable[..., Any] = admission.admit


BUGS: dict[str, tuple[str, Callable[[], Doors]]] = {}


def bug(breaks: str) -> Callable[[Callable[[], Doors]], Callable[[], Doors]]:
    def note(make: Callable[[], Doors]) -> Callable[[], Doors]:
        BUGS[make.__name__] = (breaks, make)
        return make

    return note


def plant(name: str) -> Doors:
    """The doors with this bug; KeyError when there is none of the name."""
    return BUGS[name][1]()


Patch = Callable[[Ladder, Any, Ladder, tuple[Any, ...], Policy, float], tuple[Ladder, tuple[Any, ...]]]


def after(patch: Patch) -> Doors:
    """Spoil the answer."""

    def decide(state: Ladder, seen: Any, policy: Policy, now: float, roll: float) -> Any:
        new, acts = triage.decide(state, seen, policy, now, roll)
        return patch(state, seen, new, acts, policy, now)

    return Doors(decide=decide)


def before(patch: Callable[[Ladder, Any, Policy, float], tuple[Ladder, Any, Policy, float]]) -> Doors:
    """Spoil the question."""

    def decide(state: Ladder, seen: Any, policy: Policy, now: float, roll: float) -> Any:
        return triage.decide(*patch(state, seen, policy, now), roll)

    return Doors(decide=decide)


def rearmed(acts: tuple[Any, ...], due: float | None) -> tuple[Any, ...]:
    return tuple(actions.Arm(due_mono=due) if type(a) is actions.Arm else a for a in acts)


def without(acts: tuple[Any, ...], *kinds: type) -> tuple[Any, ...]:
    return tuple(a for a in acts if type(a) not in kinds)


@bug("counted")
def restarts_by_permit_are_not_counted() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Spawned and seen.cause == "permit" and new is not old:
            new = replace(new, restarts_mono=old.restarts_mono, restarts_total=old.restarts_total)
        return new, acts

    return after(patch)


@bug("stale")
def repeated_exits_count_as_new_deaths() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Exited and seen.instance < state.instance:
            seen = replace(seen, instance=state.instance)
        return state, seen, policy, now

    return before(patch)


@bug("permit")
def the_permit_is_always_whole() -> Doors:
    def permit(state: Ladder, policy: Policy, now: float, roll: float) -> Any:
        terms = triage.permit(state, policy, now, roll)
        if terms is None or not terms.delays_s:
            return terms
        return replace(terms, delays_s=policy.backoff_s)

    return Doors(permit=permit)


@bug("permit")
def a_stopped_agent_keeps_its_permit() -> Doors:
    def permit(state: Ladder, policy: Policy, now: float, roll: float) -> Any:
        if state.phase is Phase.STOPPING:
            return m.PermitTerms(delays_s=policy.backoff_s, instance=state.instance)
        return triage.permit(state, policy, now, roll)

    return Doors(permit=permit)


@bug("permit")
def the_spacing_is_forgotten() -> Doors:
    def permit(state: Ladder, policy: Policy, now: float, roll: float) -> Any:
        return triage.permit(state, replace(policy, spacing_s=0.0), now, roll)

    return Doors(permit=permit)


@bug("prompt")
def the_permit_is_cut_while_init_uses_it() -> Doors:
    def permit(state: Ladder, policy: Policy, now: float, roll: float) -> Any:
        terms = triage.permit(state, policy, now, roll)
        if terms is not None or state.running:
            return terms
        return m.PermitTerms(delays_s=policy.backoff_s[len(state.restarts_mono) + 1 :], instance=state.instance)

    return Doors(permit=permit)


@bug("recreate_once")
def recreation_is_never_charged() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if new.tier is Tier.ALERT and new.recreated_mono is not None and old.tier is Tier.RECREATE:
            again = replace(new, phase=Phase.RECOVERING, tier=Tier.RECREATE, pending=Tier.RECREATE, recreated_mono=now)
            again = replace(again, alerted=False, next_try_mono=None, due_mono=now + 60.0)
            kept = rearmed(without(acts, actions.Alert), again.due_mono)
            return again, (*kept, actions.Recreate(instance=new.instance, grace_s=policy.hung_grace_s))
        return new, acts

    return after(patch)


@bug("one_alert")
def each_quiet_try_alerts_again() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if new.quiet_tries > old.quiet_tries:
            acts = (*acts, actions.Alert(incident=new.incident, cause=new.cause))
        return new, acts

    return after(patch)


@bug("escalated_tries")
def quiet_tries_double_without_end() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        return state, seen, replace(policy, retry_max_s=1e9), now

    return before(patch)


@bug("at_rest")
def the_fifth_quiet_try_is_the_last() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Timer and old.phase is Phase.ESCALATED and old.quiet_tries >= 2:
            return old, ()
        return new, acts

    return after(patch)


@bug("starved")
def slow_answers_of_a_starved_host_are_strikes() -> Doors:
    def decide(state: Ladder, seen: Any, policy: Policy, now: float, roll: float) -> Any:
        if type(seen) is not m.Checked or seen.verdict not in (Verdict.STARVED, Verdict.SLOW) or not state.starved:
            return triage.decide(state, seen, policy, now, roll)
        slow = replace(seen, verdict=Verdict.SLOW)
        new, acts = triage.decide(replace(state, starved=False), slow, policy, now, roll)
        return replace(new, starved=True), acts

    return Doors(decide=decide)


@bug("starved")
def the_start_deadline_runs_on_while_starved() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Starved and seen.on and old.deadline_mono is not None and new.phase is Phase.STARTING:
            new = replace(new, deadline_mono=old.deadline_mono, deadline_left_s=None, due_mono=old.due_mono)
            return new, without(acts, actions.Arm)
        return new, acts

    return after(patch)


@bug("degraded")
def degraded_agents_are_restarted() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Degraded and seen.text and new.phase is Phase.DEGRADED:
            acts = (*acts, actions.RestartTree(instance=new.instance, tier=Tier.RESTART, hung=False, grace_s=1.0))
        return new, acts

    return after(patch)


@bug("damaged")
def damaged_state_ends_an_agent_that_runs_well() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.StateDamaged and state.phase is Phase.RECOVERING and policy.restore_available:
            state = replace(state, gate_passed=False)
        return state, seen, policy, now

    return before(patch)


@bug("planned")
def an_expected_exit_is_a_death() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Exited and seen.expected and state.phase is Phase.STOPPING and state.wanted:
            seen = replace(seen, expected=False)
            state = replace(state, phase=Phase.HEALTHY, planned_stop=False)
        return state, seen, policy, now

    return before(patch)


@bug("never_silent")
def an_unanswered_start_is_not_sent_again() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if any(type(a) is actions.Start for a in acts):
            return replace(new, due_mono=None), rearmed(acts, None)
        return new, acts

    return after(patch)


@bug("at_rest")
def acts_under_way_are_lost_with_the_keeper() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Adopted and seen.instance == old.instance and seen.running is old.running:
            return replace(new, due_mono=None) if new.phase is Phase.STOPPING else new, ()
        return new, acts

    return after(patch)


@bug("forgiven")
def counts_never_decay() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Timer and len(new.restarts_mono) < len(old.restarts_mono):
            new = replace(new, restarts_mono=old.restarts_mono)
        return new, acts

    return after(patch)


@bug("recovered")
def the_gate_alone_is_recovery() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        return state, seen, replace(policy, confirm_s=policy.confirm_s / 2), now

    return before(patch)


@bug("remembered")
def escalation_is_acted_upon_before_it_is_stored() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if new.quiet_tries > old.quiet_tries:
            acts = without(acts, actions.Remember)
        return new, acts

    return after(patch)


@bug("stale")
def a_refusal_by_a_former_instance_is_believed() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Checked and seen.instance < state.instance:
            seen = replace(seen, instance=state.instance)
        return state, seen, policy, now

    return before(patch)


@bug("at_rest")
def a_restart_is_sent_without_its_fence() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        later = new.instance + 1
        kinds = (actions.RestartTree, actions.Recreate)
        return new, tuple(replace(a, instance=later) if type(a) in kinds else a for a in acts)

    return after(patch)


@bug("stop_wins")
def an_order_to_stop_is_forgotten_by_a_late_start() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Spawned and not old.wanted and new is not old:
            return replace(new, wanted=True, phase=Phase.STARTING, planned_stop=False), without(acts, actions.StopTree)
        return new, acts

    return after(patch)


@bug("slots_capacity")
def starting_agents_hold_no_slot() -> Doors:
    def admit(waiting: Any, starting: Any, *rest: Any) -> Any:
        return admission.admit(waiting, (), *rest)

    return Doors(admit=admit)


@bug("slots_order")
def small_starts_overtake_the_important() -> Doors:
    def admit(waiting: Any, *rest: Any) -> Any:
        return admission.admit([replace(one, priority=-round(one.slots * 10)) for one in waiting], *rest)

    return Doors(admit=admit)
