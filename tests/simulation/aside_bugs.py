"""Planted bugs in how agents are set aside and come back, and in how deaths for memory climb. See bugs.py.

Imported by campaign.py, so that they are planted with the others.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.healing import actions, triage
from holdfast.healing import model as m
from holdfast.healing.model import ASIDE_PHASES, Ladder, Phase, Policy, Tier
from tests.simulation.bugs import Doors, after, before, bug, rearmed, without


@bug("planned")
def a_death_while_it_is_set_aside_is_a_failure() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Exited and state.aside and state.phase is Phase.STOPPING:
            state = replace(state, phase=Phase.HEALTHY, planned_stop=False, aside="")
        return state, seen, policy, now

    return before(patch)


@bug("permit")
def whoever_is_set_aside_keeps_its_permit() -> Doors:
    def permit(state: Ladder, policy: Policy, now: float, roll: float) -> Any:
        if state.aside:
            return m.PermitTerms(delays_s=policy.backoff_s, instance=state.instance)
        return triage.permit(state, policy, now, roll)

    return Doors(permit=permit)


@bug("aside")
def a_late_start_of_one_aside_is_left_to_run() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Spawned and state.aside:
            state = replace(state, aside="", phase=Phase.STARTING)
        return state, seen, policy, now

    return before(patch)


@bug("called_back")
def a_call_back_during_the_stop_is_forgotten() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        return (old, ()) if type(seen) is m.CalledBack and old.phase is Phase.STOPPING else (new, acts)

    return after(patch)


@bug("aside")
def whoever_is_aside_is_started_by_the_next_keeper() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Adopted and state.phase in ASIDE_PHASES:
            state = replace(state, aside="", phase=Phase.QUEUED, due_mono=now)
        return state, seen, policy, now

    return before(patch)


@bug("aside_free")
def coming_back_makes_the_budget_whole() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.CalledBack and new is not old and not new.aside:
            new = replace(new, restarts_mono=(), recreated_mono=None)
        return new, acts

    return after(patch)


@bug("aside_free")
def being_set_aside_spends_a_restart() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.SetAside and new.aside and not old.aside and len(new.restarts_mono) < len(policy.backoff_s):
            new = replace(new, restarts_mono=(*new.restarts_mono, now))
        return new, acts

    return after(patch)


@bug("never_silent")
def one_called_back_asks_for_no_start() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.CalledBack and new.phase is Phase.QUEUED and old.phase in ASIDE_PHASES:
            return replace(new, due_mono=None), without(rearmed(acts, None), actions.AskSlot)
        return new, acts

    return after(patch)


@bug("called_back")
def the_shed_stay_down_after_a_reboot() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.NodeBooted and old.aside == "shed" and new.phase is Phase.QUEUED:
            new = replace(new, aside="shed", phase=Phase.SHED, due_mono=None)
            return new, without(rearmed(acts, None), actions.AskSlot)
        return new, acts

    return after(patch)


@bug("at_rest")
def the_stop_that_sets_aside_is_said_only_once() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if old.aside and old.phase is Phase.STOPPING and type(seen) in (m.Timer, m.Adopted) and new.aside:
            acts = without(acts, actions.StopTree)
        return new, acts

    return after(patch)


@bug("remembered")
def setting_aside_is_acted_upon_before_it_is_stored() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        return new, without(acts, actions.Remember) if type(seen) is m.SetAside else acts

    return after(patch)


@bug("memory_again")
def a_second_death_for_memory_is_restarted_like_any() -> Doors:
    def patch(state: Ladder, seen: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Exited and seen.memory:
            state = replace(state, memory_deaths_mono=())
        return state, seen, policy, now

    return before(patch)


@bug("permit")
def init_restarts_alone_after_a_death_for_memory() -> Doors:
    def permit(state: Ladder, policy: Policy, now: float, roll: float) -> Any:
        return triage.permit(replace(state, memory_deaths_mono=()), policy, now, roll)

    return Doors(permit=permit)


@bug("forgiven")
def deaths_for_memory_count_for_ever() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.Timer and len(new.memory_deaths_mono) < len(old.memory_deaths_mono):
            new = replace(new, memory_deaths_mono=old.memory_deaths_mono)
        return new, acts

    return after(patch)


@bug("table")
def one_that_was_escalated_comes_back_as_if_nothing_had_been() -> Doors:
    def patch(old: Ladder, seen: Any, new: Ladder, acts: Any, policy: Policy, now: float) -> Any:
        if type(seen) is m.SlotGranted and new.tier is Tier.ALERT:
            new = replace(new, tier=Tier.NONE)
        return new, acts

    return after(patch)
