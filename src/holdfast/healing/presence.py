"""Instances coming and going: spawned, exited, failed to spawn, down. What a new keeper finds stands in found.py.

Invariant: instance numbers only grow, and each new one is counted once: as tier 1 when nobody planned it, whether it
is told by Spawned, by a later Spawned after a gap, or found by adoption. Repeated and late news change nothing.
Called by: triage, found and orders. Pure.
"""

from __future__ import annotations

import signal

from msgspec.structs import replace

from holdfast.healing import alert, climb, restart, setting_aside, validate
from holdfast.healing.actions import Action, CloseIncident, Outcome, Start, StopTree
from holdfast.healing.model import (
    ASIDE_PHASES,
    Asked,
    Down,
    Exited,
    Ladder,
    Phase,
    Policy,
    SlotGranted,
    Spawned,
    SpawnFailed,
    Swept,
    Tier,
)
from holdfast.limits import ACT_PATIENCE_S, PERMIT_SLACK_S

UNSEEN = "ended unseen"
# Here nothing runs and nothing was promised to: of a newer instance that ended only the number is news.
UNPROMISED = frozenset({Phase.QUEUED, Phase.STOPPED, Phase.FINISHED}) | ASIDE_PHASES


def spawned(state: Ladder, seen: Spawned, policy: Policy, now: float, roll: float) -> Outcome:
    if seen.instance <= state.instance:
        return state, ()
    return arrive(state, policy, now, seen.instance, seen.cause == "permit")


def arrive(state: Ladder, policy: Policy, now: float, instance: int, by_permit: bool) -> Outcome:
    """A newer instance runs. Numbers between it and the last one known were restarts by permit nobody told us of."""
    charged = unplanned(state, instance, by_permit)
    opened: tuple[Action, ...] = ()
    if charged and not state.planned_stop and state.wanted and not state.aside:
        if not state.incident:
            state, opened = climb.open_incident(state, policy, now, UNSEEN)
        state = replace(state, tier=max(state.tier, Tier.RESTART))
    elif not charged and state.pending > Tier.RESTART:
        state = replace(state, restarts_total=state.restarts_total + 1)
    state = restart.count(restart.forget_old(state, policy, now), policy, charged, now)
    state = replace(state, instance=instance)
    if not state.wanted or state.aside:
        return unwanted(replace(state, running=True), policy, now)
    if setting_aside.is_called_back(state):  # its start was overtaken by the stop, which is not taken back
        return setting_aside.stop(replace(state, running=True), policy, now)
    return runs(state, policy, now), opened


def unplanned(state: Ladder, instance: int, by_permit: bool) -> int:
    """How many of the instances after the last known one, up to `instance`, were restarts of tier 1."""
    missing = instance - state.instance
    if missing == 1 or state.instance == 0:
        return 1 if by_permit or state.pending is Tier.RESTART else 0
    return missing - (planned_start_under_way(state) and not may_be_by_permit(state))


def planned_start_under_way(state: Ladder) -> bool:
    """An act of ours other than tier 1 will bring, or has brought, a new instance."""
    if state.phase in (Phase.RECOVERING, Phase.ESCALATED):
        return state.pending > Tier.RESTART
    restarted = state.phase is Phase.STOPPING and state.wanted and not state.aside
    return (not state.running and state.phase is Phase.STARTING) or restarted


def by_init_alone(state: Ladder) -> bool:
    """A newer instance, not told by Spawned, can only be init's own doing: by a permit."""
    return state.instance > 0 and state.phase is not Phase.QUEUED and not planned_start_under_way(state)


def may_be_by_permit(state: Ladder) -> bool:
    """A newer instance, heard of too late: the act under way skipped restarts which init may have made meanwhile."""
    skipped = len(state.memory_deaths_mono) > 1 and state.pending in (Tier.RECREATE, Tier.RESTORE)
    return state.phase is Phase.RECOVERING and skipped


def runs(state: Ladder, policy: Policy, now: float) -> Ladder:
    """The instance just began (or was just found): await its gate, or take its life for health when it has none."""
    gated = policy.has_gate
    state = replace(
        state,
        running=True,
        aside_mono=None,
        aside_grace_s=None,
        gate_passed=not gated,
        started_mono=now,
        last_start_mono=now,
        good_since_mono=None if gated else now,
        deadline_mono=None,
        deadline_left_s=None,
        by_init=False,
        planned_stop=False,
        misbehaves=False,
        blamed=(),
        degraded="",
    )
    if not gated:
        return validate.well(replace(state, strikes=0), policy, now)
    return validate.await_gate(state, policy, now)


def unwanted(state: Ladder, policy: Policy, now: float) -> Outcome:
    """Stop it (again), until init says that it is down."""
    if state.aside:
        return setting_aside.stop(state, policy, now)
    due = now + ACT_PATIENCE_S + (policy.stop_grace_s if state.running else 0.0)
    state = replace(state, phase=Phase.STOPPING, planned_stop=True, pending=Tier.NONE, due_mono=due)
    return state, (StopTree(instance=state.instance, grace_s=policy.stop_grace_s),)


def gone(state: Ladder) -> Ladder:
    return replace(
        state,
        running=False,
        gate_passed=False,
        strikes=0,
        good_since_mono=None,
        deadline_mono=None,
        deadline_left_s=None,
        misbehaves=False,
        blamed=(),
        degraded="",
    )


def exited(state: Ladder, seen: Exited, policy: Policy, now: float, roll: float) -> Outcome:
    """A death, unless it was planned, asked for, or the end of a job that runs once."""
    if seen.instance < state.instance or (seen.instance == state.instance and not state.running):
        return state, ()
    before: tuple[Action, ...] = ()
    if seen.instance > state.instance:
        if state.phase in UNPROMISED:
            return replace(state, instance=seen.instance), ()
        state, before = arrive(state, policy, now, seen.instance, by_init_alone(state) or may_be_by_permit(state))
    stranger = state.strikes > 0 and not state.gate_passed
    state = gone(state)
    done = policy.once and seen.code == 0 and not seen.expected
    if state.phase is Phase.STOPPING and not (done and state.aside):
        return replace(state, due_mono=now + ACT_PATIENCE_S), before
    again = False
    if seen.memory and not seen.expected:
        state = restart.count_memory_death(state, policy, now)
        again = restart.memory_deaths(state, policy, now) > 1
    if done:
        state, after = finished(state)
    elif state.phase is Phase.ESCALATED:
        state, after = replace(state, due_mono=alert.due(state, policy, now)), ()
    elif state.phase is Phase.RECOVERING and state.pending is not Tier.NONE:
        state, after = replace(state, due_mono=now + ACT_PATIENCE_S), ()
    elif state.phase is Phase.UNHEALTHY and not again:
        state, after = replace(state, phase=Phase.BACKOFF), ()
    elif seen.expected:
        # A stop of ours that this state does not know of: what follows it will be told; if not, start.
        state, after = replace(state, phase=Phase.STARTING, due_mono=now + ACT_PATIENCE_S), ()
    else:
        cause = exit_words(seen) + (" while its port was taken by another process" if stranger else "")
        state, after = climb.fail(state, policy, now, roll, cause, by_init=True, in_vain=again)
    return state, before + after


def exit_words(seen: Exited) -> str:
    """How it ended, as one clause."""
    if seen.memory:
        return "was killed for memory"
    if seen.code is not None:
        return f"exited with {seen.code}"
    if seen.signal is not None:
        try:
            return f"was killed by {signal.Signals(seen.signal).name}"
        except ValueError:
            return f"was killed by signal {seen.signal}"
    return UNSEEN


def finished(state: Ladder) -> Outcome:
    """A job that runs once ended well: that also validates whatever was healed before."""
    closed: tuple[Action, ...] = ()
    if state.incident:
        closed = (CloseIncident(incident=state.incident, outcome="recovered"),)
    state = replace(
        setting_aside.forgotten(gone(state)),
        wanted=False,
        phase=Phase.FINISHED,
        tier=Tier.NONE,
        pending=Tier.NONE,
        by_init=False,
        planned_stop=False,
        incident=0,
        alerted=False,
        quiet_tries=0,
        next_try_mono=None,
        cause="",
        damaged="",
        due_mono=None,
    )
    return state, closed


def spawn_failed(state: Ladder, seen: SpawnFailed, policy: Policy, now: float, roll: float) -> Outcome:
    """An attempt without a process is an attempt: it spends what a restart would have spent."""
    if seen.instance:
        if seen.instance <= state.instance:
            return state, ()
        charged = unplanned(state, seen.instance, seen.cause == "permit" or by_init_alone(state))
        state = replace(gone(state), instance=seen.instance)
    elif state.running:
        return state, ()
    else:
        charged = int(state.pending is Tier.RESTART)
    state = restart.count(restart.forget_old(state, policy, now), policy, charged, now)
    if not state.wanted or state.aside or state.phase is Phase.QUEUED:
        return state, ()
    state = replace(state, planned_stop=False, last_start_mono=now)
    if state.phase is Phase.ESCALATED:
        state = replace(state, pending=Tier.NONE)
        return replace(state, due_mono=alert.due(state, policy, now)), ()
    return climb.fail(state, policy, now, roll, f"could not be started: {seen.reason}")


def swept(state: Ladder, seen: Swept, policy: Policy, now: float, roll: float) -> Outcome:
    """For the timeline only; what follows is told by Spawned, Down or Asked."""
    return state, ()


def down(state: Ladder, seen: Down, policy: Policy, now: float, roll: float) -> Outcome:
    """init let go of the agent, as told or because its job is done."""
    if seen.instance and seen.instance < state.instance:
        return state, ()
    if seen.reason == "finished":
        return _told_finished(state, seen, policy, now)
    if state.phase is not Phase.STOPPING and not _stopped_by_a_former_order(state, seen):
        return state, ()
    state = replace(gone(state), planned_stop=False, instance=max(state.instance, seen.instance))
    if state.aside:
        return setting_aside.down(state), ()
    if state.wanted:
        return follow_up(state, now)
    return replace(state, phase=Phase.STOPPED, due_mono=None), ()


def follow_up(state: Ladder, now: float) -> Outcome:
    """What follows a stop of one that is wanted: its start, by the queue where it had been set aside."""
    return setting_aside.queued(state, now) if setting_aside.is_called_back(state) else start_now(state, now)


def _stopped_by_a_former_order(state: Ladder, seen: Down) -> bool:
    """A stop that a start had overtaken reached what runs after all, and its exit went unheard: it is started again."""
    return state.wanted and state.running and state.pending is Tier.NONE and seen.instance == state.instance


def _told_finished(state: Ladder, seen: Down, policy: Policy, now: float) -> Outcome:
    if not policy.once or not state.wanted:
        return state, ()
    if state.phase is Phase.STOPPING and not state.aside:
        state = replace(gone(state), instance=max(state.instance, seen.instance))
        return follow_up(state, now)  # it ended before a person's restart reached it
    if seen.instance > state.instance:
        return finished(replace(state, instance=seen.instance))
    if not state.running and (state.aside or state.phase in (Phase.QUEUED, Phase.STARTING)):
        return state, ()  # old news: a person wants it to run again
    return finished(state)


def start_now(state: Ladder, now: float) -> Outcome:
    """A planned start: no incident, no budget."""
    state = replace(
        state, phase=Phase.STARTING, pending=Tier.NONE, by_init=False, planned_stop=False, due_mono=now + ACT_PATIENCE_S
    )
    return state, (Start(instance=state.instance, tier=Tier.NONE),)


def asked(state: Ladder, seen: Asked, policy: Policy, now: float, roll: float) -> Outcome:
    """init will not restart by itself: the delay still holds, only without the slack left for init."""
    if seen.instance and seen.instance < state.instance:
        return state, ()
    if seen.instance and (seen.instance > state.instance or state.running):
        return exited(state, Exited(instance=seen.instance), policy, now, roll)
    if state.phase is Phase.RECOVERING and state.pending is Tier.RESTART and not state.running:
        return climb.repeat(state, policy, now)  # it died before the restart of its tree could reach it
    if state.phase is not Phase.BACKOFF or not state.by_init:
        return state, ()
    if state.damaged and state.pending is Tier.RESTART:
        return climb.restored_next(state, policy, now, roll)
    at = now if state.due_mono is None else max(now, state.due_mono - PERMIT_SLACK_S)
    state = replace(state, by_init=False, due_mono=at)
    return climb.perform(state, policy, now) if at <= now else (state, ())


def slot_granted(state: Ladder, seen: SlotGranted, policy: Policy, now: float, roll: float) -> Outcome:
    if state.phase is not Phase.QUEUED or not state.wanted:
        return state, ()
    return start_now(state, now)
