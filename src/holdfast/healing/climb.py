"""What follows a failure: the lowest tier that has budget left. And the incident it belongs to.

Invariant: the tier never falls while an incident is open, each failure leads to exactly one act (done now or due at
due_mono) or to the alert, and a healed crash is an incident too.
Called by: presence (deaths), validate (bad checks), triage (deadlines). Pure.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.healing import alert, recreate, restart, restore
from holdfast.healing.actions import Action, CloseIncident, OpenIncident, Outcome
from holdfast.healing.model import Ladder, Phase, Policy, StateDamaged, Tier
from holdfast.limits import ACT_PATIENCE_S, HANDS_OFF_LOOK_S, PERMIT_SLACK_S, RECREATE_PATIENCE_S

_FAILING = frozenset({Phase.STARTING, Phase.UNHEALTHY, Phase.RECOVERING, Phase.BACKOFF})


def fail(
    state: Ladder,
    policy: Policy,
    now: float,
    roll: float,
    cause: str,
    by_init: bool = False,
    in_vain: bool = False,
) -> Outcome:
    """The agent failed. `by_init`: it died while init may have held a permit, so a tier-1 restart is init's to do.

    `in_vain`: a restart was tried against just this, and it came again: the next tier.
    """
    if policy.hands_off:
        return held(state, now, cause), ()
    state, opened = open_incident(state, policy, now, cause)
    tier = choose(state, policy, now, in_vain)
    if tier is Tier.RESTORE and not in_vain and by_init and not state.running and restart.available(state, policy, now):
        tier = Tier.RESTART  # init may hold a permit for it; when it holds none it asks, and then the restore follows
    if tier is Tier.ALERT:
        state, said = alert.escalate(state, policy, now, roll)
        return state, opened + said
    if tier is Tier.RESTART:
        at = restart.act_at(state, policy, now, roll)
    else:
        at = restart.spaced(state, policy, now)
    state = replace(state, tier=max(state.tier, tier), pending=tier, by_init=False)
    if tier is Tier.RESTART and by_init and not state.running:
        return replace(state, phase=Phase.BACKOFF, by_init=True, due_mono=at + PERMIT_SLACK_S), opened
    if at > now:
        return replace(state, phase=Phase.UNHEALTHY if state.running else Phase.BACKOFF, due_mono=at), opened
    state, acts = perform(state, policy, now)
    return state, opened + acts


def damaged(state: Ladder, seen: StateDamaged, policy: Policy, now: float, roll: float) -> Outcome:
    """Its state is broken: the next act is a restore, whatever lower tiers have left.

    Only noted here: init may be restarting it at this moment. Taken up when init asks, or when it fails again.
    """
    if seen.instance != state.instance or state.phase not in _FAILING or (state.running and state.gate_passed):
        return state, ()
    if not state.incident or policy.hands_off or state.damaged or not restore.available(state, policy):
        return state, ()
    return replace(state, damaged=seen.cause or "its state is damaged"), ()


def restored_next(state: Ladder, policy: Policy, now: float, roll: float) -> Outcome:
    """A restore takes the place of the restart that was due; it keeps only the recipe's spacing."""
    at = restart.spaced(state, policy, now)
    state = replace(state, tier=Tier.RESTORE, pending=Tier.RESTORE, by_init=False, cause=state.damaged, due_mono=at)
    return perform(state, policy, now) if at <= now else (state, ())


def held(state: Ladder, now: float, cause: str) -> Ladder:
    """Under maintenance: the failure is kept in mind, and looked at again until somebody may do something about it."""
    phase = Phase.UNHEALTHY if state.running else Phase.BACKOFF
    due = now + HANDS_OFF_LOOK_S
    return replace(state, phase=phase, pending=Tier.NONE, by_init=False, cause=cause, due_mono=due)


def take_up(state: Ladder, policy: Policy, now: float, roll: float) -> Outcome:
    """What is due in UNHEALTHY and BACKOFF: the pending act, or a failure that was held."""
    if state.pending is not Tier.NONE and not policy.hands_off:
        return perform(state, policy, now)
    return fail(state, policy, now, roll, state.cause)


def choose(state: Ladder, policy: Policy, now: float, in_vain: bool = False) -> Tier:
    """The lowest tier with budget, not below the incident's own; of damaged state a restore."""
    if state.damaged and restore.available(state, policy):
        return Tier.RESTORE
    if not in_vain and restart.available(state, policy, now):
        return Tier.RESTART
    if recreate.available(state):
        return Tier.RECREATE
    if restore.available(state, policy):
        return Tier.RESTORE
    return Tier.ALERT


def perform(state: Ladder, policy: Policy, now: float) -> Outcome:
    """Do the pending act now and charge its budget."""
    if state.pending is Tier.RECREATE:
        state = recreate.spend(state, now)
    elif state.pending is Tier.RESTORE:
        state = restore.spend(state, now)
    return repeat(replace(state, phase=Phase.RECOVERING, by_init=False), policy, now)


def repeat(state: Ladder, policy: Policy, now: float) -> Outcome:
    """Send the act under way (again): for RECOVERING with something pending. Charges nothing."""
    act: Action
    patience_s = ACT_PATIENCE_S + (policy.hung_grace_s if state.running else 0.0)
    if state.pending is Tier.RECREATE:
        act = recreate.act(state, policy)
        patience_s += RECREATE_PATIENCE_S
    elif state.pending is Tier.RESTORE:
        act = restore.act(state, policy)
        patience_s += RECREATE_PATIENCE_S
    else:
        act = restart.act(state, policy, state.pending, hung=True)
    return replace(state, due_mono=now + patience_s), (act,)


def open_incident(state: Ladder, policy: Policy, now: float, cause: str) -> Outcome:
    """Join the open incident or open one. One that a person took over after its alert is over: this is a new one."""
    closed: tuple[Action, ...] = ()
    if state.incident and state.alerted and state.tier is Tier.NONE:
        closed = (CloseIncident(incident=state.incident, outcome="escalated"),)
        state = replace(state, incident=0, alerted=False)
    if state.incident:
        return replace(state, cause=cause), closed
    state = restart.forget_old(state, policy, now)
    number = state.incidents_seen + 1
    state = replace(state, incident=number, incidents_seen=number, cause=cause)
    return state, (*closed, OpenIncident(incident=number, cause=cause))
