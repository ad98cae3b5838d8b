"""What a person said: start, stop, restart. Planned: no incident, no budget spent.

Invariant: stop wins in any phase; an order takes an escalated ladder back to its first rung, with its incident open
until the agent is validated.
Called by: triage. Pure.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.healing import restart, setting_aside, validate
from holdfast.healing.actions import AskSlot, Outcome, StopTree
from holdfast.healing.model import ASIDE_PHASES, Commanded, Ladder, Phase, Policy, Tier
from holdfast.healing.presence import start_now
from holdfast.limits import ACT_PATIENCE_S, QUEUE_ASK_S


def commanded(state: Ladder, seen: Commanded, policy: Policy, now: float, roll: float) -> Outcome:
    if seen.what == "stop":
        return stop(state, policy, now)
    if state.phase in (Phase.STOPPED, Phase.FINISHED):
        return replace(state, wanted=True, phase=Phase.QUEUED, due_mono=now + QUEUE_ASK_S), (AskSlot(),)
    if state.aside:
        return setting_aside.back(taken_over(state), now)
    if state.phase is Phase.STOPPING:
        # The stop in flight is not taken back; the start follows it.
        return (state if state.wanted else replace(state, wanted=True)), ()
    if seen.what == "restart" and state.running and not _restart_under_way(state):
        return restart_tree(taken_over(state), policy, now)
    if state.phase is Phase.BACKOFF:
        return start_now(state, now)
    if state.tier is not Tier.ALERT:
        return state, ()
    return _start_escalated(state, policy, now)


def _restart_under_way(state: Ladder) -> bool:
    return state.phase is Phase.RECOVERING and state.pending is not Tier.NONE


def _start_escalated(state: Ladder, policy: Policy, now: float) -> Outcome:
    trying = state.pending is Tier.ALERT
    state = taken_over(state)
    if not state.running:
        return start_now(state, now)
    if trying or state.misbehaves:
        return restart_tree(state, policy, now)
    if state.gate_passed:
        return validate.well(replace(state, strikes=0), policy, now), ()
    return validate.await_gate(state, policy, now), ()


def taken_over(state: Ladder) -> Ladder:
    """A person acts on an escalated agent: first rung, full budgets. The incident stays open."""
    if state.tier is not Tier.ALERT:
        return state
    return replace(
        state,
        tier=Tier.NONE,
        pending=Tier.NONE,
        restarts_mono=(),
        recreated_mono=None,
        restored_mono=None,
        memory_deaths_mono=(),
        damaged="",
        quiet_tries=0,
        next_try_mono=None,
    )


def restart_tree(state: Ladder, policy: Policy, now: float) -> Outcome:
    """A planned restart of what runs; evidence and short grace when it was struck out or misbehaves."""
    hung = state.misbehaves or state.strikes >= policy.strikes
    state = replace(
        state,
        phase=Phase.STOPPING,
        planned_stop=True,
        pending=Tier.NONE,
        by_init=False,
        due_mono=now + policy.stop_grace_s + ACT_PATIENCE_S,
    )
    return state, (restart.act(state, policy, Tier.NONE, hung),)


def stop(state: Ladder, policy: Policy, now: float) -> Outcome:
    """Down, and stay down. Told to init even when nothing seems to run: it may be about to restart by its permit."""
    if state.phase is Phase.STOPPED:
        return state, ()
    if _restart_under_way(state) and state.pending is Tier.RESTART:
        state = restart.count(state, policy, 1, now)  # it may come to pass before the stop does
    state = setting_aside.forgotten(taken_over(state))
    if state.phase in (Phase.QUEUED, Phase.FINISHED) or state.phase in ASIDE_PHASES:
        return replace(state, wanted=False, phase=Phase.STOPPED, due_mono=None), ()
    state = replace(
        state,
        wanted=False,
        phase=Phase.STOPPING,
        planned_stop=True,
        pending=Tier.NONE,
        by_init=False,
        due_mono=now + policy.stop_grace_s + ACT_PATIENCE_S,
    )
    return state, (StopTree(instance=state.instance, grace_s=policy.stop_grace_s),)
