"""The ladder's one door: decide what follows from an observation, and permit what init may do alone.

`decide` is pure and total: any observation is legal in any phase, the same arguments give the same answer.
Invariants (checked by tests/simulation): a wanted agent that is down always has a due time or an act under way, or was
set aside; at most one alert an incident; budgets hold; starved and degraded never act; a planned stop is never an
incident.
The shell stores the new state, then carries out the actions in order, then forgets them. Who calls: the keeper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from holdfast.healing import alert, climb, found, orders, presence, restart, setting_aside, validate
from holdfast.healing.actions import Action, Arm, AskSlot, Outcome, Remember
from holdfast.healing.model import (
    ASIDE_PHASES,
    Adopted,
    Asked,
    Behaved,
    CalledBack,
    Checked,
    Commanded,
    Degraded,
    Down,
    Exited,
    GatePassed,
    Ladder,
    NodeBooted,
    Observation,
    Phase,
    Policy,
    SetAside,
    SlotGranted,
    Spawned,
    SpawnFailed,
    StartProgressed,
    Starved,
    StateDamaged,
    Swept,
    Tier,
    Timer,
)
from holdfast.limits import HANDS_OFF_LOOK_S, QUEUE_ASK_S

permit = restart.permit


def timer(state: Ladder, seen: Timer, policy: Policy, now: float, roll: float) -> Outcome:
    """What was due at due_mono."""
    if state.due_mono is None or now < state.due_mono:
        return state, ()
    match state.phase:
        case Phase.QUEUED:
            return replace(state, due_mono=now + QUEUE_ASK_S), (AskSlot(),)
        case Phase.STARTING if state.running:
            stranger = ": its port is taken by another process" if state.strikes else ""
            cause = f"did not pass its start gate in time{stranger}"
            return climb.fail(replace(state, deadline_mono=None), policy, now, roll, cause)
        case Phase.HEALTHY | Phase.DEGRADED:
            state = restart.forget_old(state, policy, now)
            return replace(state, due_mono=restart.decay_due(state, policy)), ()
        case Phase.UNHEALTHY | Phase.BACKOFF:
            return climb.take_up(state, policy, now, roll)
        case Phase.RECOVERING if state.pending is Tier.NONE:
            return validate.confirm(state, policy, now)
        case Phase.ESCALATED:
            if state.running and state.gate_passed and state.good_since_mono is not None:
                return validate.confirm(state, policy, now)
            if policy.hands_off:
                return replace(state, due_mono=now + HANDS_OFF_LOOK_S), ()
            return alert.quiet_try(state, policy, now, roll)
        case Phase.STOPPED | Phase.FINISHED:
            return replace(state, due_mono=None), ()
        case phase if phase in ASIDE_PHASES:
            return replace(state, due_mono=None), ()
        case _:
            return found.under_way(state, policy, now)


_RULES: dict[type, Callable[[Ladder, Any, Policy, float, float], Outcome]] = {
    Spawned: presence.spawned,
    Exited: presence.exited,
    SpawnFailed: presence.spawn_failed,
    GatePassed: validate.gate_passed,
    StartProgressed: validate.start_progressed,
    Checked: validate.checked,
    Behaved: validate.behaved,
    StateDamaged: climb.damaged,
    Degraded: validate.degraded,
    Starved: validate.starved,
    Commanded: orders.commanded,
    SetAside: setting_aside.set_aside,
    CalledBack: setting_aside.called_back,
    Swept: presence.swept,
    Down: presence.down,
    Asked: presence.asked,
    Timer: timer,
    Adopted: found.adopted,
    NodeBooted: found.node_booted,
    SlotGranted: presence.slot_granted,
}


def decide(state: Ladder, observation: Observation, policy: Policy, now: float, roll: float) -> Outcome:
    """What follows. `now` in seconds of the monotonic clock, never less than before; `roll` in [0, 1) is the jitter.

    The actions begin with Remember when something worth storing changed, and Arm when the due time did. The very same
    state object comes back when nothing changed at all.
    """
    new, acts = _RULES[type(observation)](state, observation, policy, now, roll)
    if new is state:
        return state, acts
    first: tuple[Action, ...] = ()
    level = worth(state, new)
    if level is not None:
        first = (Remember(level=level),)
    if new.due_mono != state.due_mono:
        first = (*first, Arm(due_mono=new.due_mono))
    return new, first + acts


def worth(old: Ladder, new: Ladder) -> Any:
    """How a change must be stored: `durable` for what must survive the machine, `plain` for the rest, None for less.

    Strikes and the beginning of a good run may be lost with the keeper: they are seen anew.
    """
    if (
        new.wanted is not old.wanted
        or new.planned_stop is not old.planned_stop
        or new.aside != old.aside
        or new.alerted is not old.alerted
        or new.quiet_tries != old.quiet_tries
        or new.recreated_mono != old.recreated_mono
        or new.restored_mono != old.restored_mono
        or (new.tier is not old.tier and max(new.tier, old.tier) > Tier.RESTART)
    ):
        return "durable"
    if (
        new.phase is not old.phase
        or new.instance != old.instance
        or new.running is not old.running
        or new.gate_passed is not old.gate_passed
        or new.tier is not old.tier
        or new.incident != old.incident
        or new.pending is not old.pending
        or new.due_mono != old.due_mono
        or new.restarts_mono != old.restarts_mono
        or new.starved is not old.starved
        or new.degraded != old.degraded
        or new.blamed != old.blamed
        or new.damaged != old.damaged
        or new.aside_mono != old.aside_mono
        or new.aside_grace_s != old.aside_grace_s
        or new.memory_deaths_mono != old.memory_deaths_mono
    ):
        return "plain"
    return None
