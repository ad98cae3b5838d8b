"""What the keeper finds when it comes back: the world as init knows it, or a machine that was rebooted.

Invariant: the difference between what was stored and what is, is repaired, and acts under way are sent again; what was
overdue while nobody watched is no failure.
Called by: triage. Pure.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.healing import climb, presence, restart, setting_aside, validate
from holdfast.healing.actions import AskSlot, Outcome
from holdfast.healing.model import ASIDE_PHASES, Adopted, Exited, Ladder, NodeBooted, Phase, Policy, Tier
from holdfast.limits import ACT_PATIENCE_S, QUEUE_ASK_S


def adopted(state: Ladder, seen: Adopted, policy: Policy, now: float, roll: float) -> Outcome:
    """Compare what was stored with what is, repair the difference, send acts under way again."""
    if seen.instance < state.instance:
        return state, ()
    if seen.instance > state.instance:
        if not seen.running:
            if state.instance == 0 or state.phase in presence.UNPROMISED:
                return replace(state, instance=seen.instance), ()
            return presence.exited(state, Exited(instance=seen.instance), policy, now, roll)
        return presence.arrive(
            state, policy, now, seen.instance, presence.by_init_alone(state) or presence.may_be_by_permit(state)
        )
    if state.running and not seen.running:
        state, told = presence.exited(state, Exited(instance=seen.instance), policy, now, roll)
        if state.phase is not Phase.RECOVERING or state.pending is Tier.NONE or told:
            return state, told
        return under_way(state, policy, now)  # the keeper may have died before it sent the act it had decided on
    if seen.running and not state.running:
        if not state.wanted or state.aside:
            return presence.unwanted(replace(state, running=True), policy, now)
        return presence.runs(state, policy, now), ()
    # Nobody watched while the keeper was away: a good run and the wait for the gate begin anew.
    if state.good_since_mono is not None:
        state = validate.rearm(replace(state, good_since_mono=now), policy, now)
    elif state.deadline_mono is not None and state.deadline_mono < now + policy.start_deadline_s:
        state = validate.rearm(replace(state, deadline_mono=now + policy.start_deadline_s), policy, now)
    elif state.deadline_left_s is not None:
        state = replace(state, deadline_left_s=max(state.deadline_left_s, policy.start_deadline_s))
    return under_way(state, policy, now)


def under_way(state: Ladder, policy: Policy, now: float) -> Outcome:
    """Send again whatever act is under way; nothing when none is."""
    phase = state.phase
    if phase is Phase.RECOVERING and state.pending is not Tier.NONE:
        if policy.hands_off:  # what was sent before maintenance began is not sent again
            return climb.held(state, now, state.cause), ()
        return climb.repeat(state, policy, now)
    if phase is Phase.ESCALATED and state.pending is Tier.ALERT:
        if policy.hands_off:
            return replace(state, pending=Tier.NONE), ()
        return state, (restart.act(state, policy, Tier.ALERT, hung=True),)
    if phase is Phase.STARTING and not state.running:
        return presence.start_now(state, now)
    if phase is Phase.STOPPING:
        if not state.wanted or state.aside:
            return presence.unwanted(state, policy, now)
        if setting_aside.is_called_back(state):
            return setting_aside.stop(state, policy, now)  # init may not have heard it, and may hold a permit still
        if not state.running:
            return presence.start_now(state, now)
        state = replace(state, due_mono=now + policy.stop_grace_s + ACT_PATIENCE_S)
        return state, (restart.act(state, policy, Tier.NONE, hung=False),)
    return state, ()


def node_booted(state: Ladder, seen: NodeBooted, policy: Policy, now: float, roll: float) -> Outcome:
    """Back to the desired state. Times are void; an open incident stays open until the agent is validated."""
    if seen.finished and policy.once and state.wanted:
        waiting = state.phase in (Phase.QUEUED, Phase.STARTING, Phase.STOPPING) or state.phase in ASIDE_PHASES
        to_run_again = not state.running and waiting
        if seen.instance > state.instance or not to_run_again:
            return presence.finished(replace(state, instance=max(state.instance, seen.instance)))
    if not state.wanted:
        phase = Phase.FINISHED if state.phase is Phase.FINISHED else Phase.STOPPED
    elif state.aside and state.aside != "shed":
        phase = Phase(state.aside)
    else:
        phase = Phase.QUEUED  # the shed as well: what there was no room for is gone with everything else
        state = setting_aside.forgotten(state)
    state = replace(
        presence.gone(state),
        instance=max(state.instance, seen.instance),
        phase=phase,
        tier=Tier.NONE,
        pending=Tier.NONE,
        by_init=False,
        planned_stop=False,
        restarts_mono=(),
        recreated_mono=None,
        restored_mono=None,
        quiet_tries=0,
        next_try_mono=None,
        started_mono=None,
        last_start_mono=None,
        starved=False,
        damaged="",
        aside_mono=now if state.aside else None,
        memory_deaths_mono=(),
        due_mono=now + QUEUE_ASK_S if phase is Phase.QUEUED else None,
    )
    return state, (AskSlot(),) if phase is Phase.QUEUED else ()
