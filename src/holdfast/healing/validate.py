"""What says that an agent is well, and what says that it is not: gate, checks, starvation, degraded.

Invariant: recovered means the gate passed and checks were good for Policy.confirm_s without a bad one between.
Starvation takes the meaning from silence, not from a good answer: while it lasts, a run is confirmed by the next good
check. Starved and degraded never lead to an act. A verdict about another instance than the running one says nothing.
While the instance misbehaves there is no good run: a good answer at its endpoint proves nothing then.
Called by: triage. Pure.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.healing import alert, climb, restart
from holdfast.healing.actions import Action, CloseIncident, Outcome
from holdfast.healing.model import (
    Behaved,
    Checked,
    Degraded,
    GatePassed,
    Ladder,
    Phase,
    Policy,
    StartProgressed,
    Starved,
    Tier,
)
from holdfast.health.model import Verdict

_BROKEN_START = "did not behave since its start"
_WORDS = {
    Verdict.SLOW: "did not answer in time",
    Verdict.FAILING: "answered, but not well",
    Verdict.REFUSED: "refused the connection",
    Verdict.FOREIGN: "its port is taken by another process",
}


def heard(state: Ladder, instance: int) -> bool:
    """Whether a verdict about `instance` may count: it runs, and no act or stop is under way for it."""
    return (
        state.running
        and instance == state.instance
        and state.phase is not Phase.STOPPING
        and (state.pending is Tier.NONE or state.phase is Phase.UNHEALTHY)
    )


def well(state: Ladder, policy: Policy, now: float) -> Ladder:
    """The running instance is past its gate and no act is due: the phase and due time that follow from that."""
    state = replace(state, pending=Tier.NONE)
    if state.tier is Tier.ALERT:
        return replace(state, phase=Phase.ESCALATED, due_mono=alert.due(state, policy, now))
    if state.incident:
        since = state.good_since_mono
        return replace(state, phase=Phase.RECOVERING, due_mono=None if since is None else since + policy.confirm_s)
    phase = Phase.DEGRADED if state.degraded else Phase.HEALTHY
    return replace(state, phase=phase, cause="", due_mono=restart.decay_due(state, policy))


def await_gate(state: Ladder, policy: Policy, now: float) -> Ladder:
    """The running instance has its whole start deadline before it; frozen while the host is starved."""
    whole_s = policy.start_deadline_s
    state = replace(
        state,
        strikes=0,
        pending=Tier.NONE,
        deadline_mono=None if state.starved else now + whole_s,
        deadline_left_s=whole_s if state.starved else None,
    )
    if state.tier is Tier.ALERT:
        return replace(state, phase=Phase.ESCALATED, due_mono=alert.due(state, policy, now))
    return replace(state, phase=Phase.STARTING, due_mono=state.deadline_mono)


def gate_passed(state: Ladder, seen: GatePassed, policy: Policy, now: float, roll: float) -> Outcome:
    """Also after its deadline: a slow start that made it takes back the restart that was due."""
    if state.gate_passed or not heard(state, seen.instance):
        return state, ()
    since = None if state.misbehaves else now
    state = replace(state, gate_passed=True, strikes=0, good_since_mono=since, deadline_mono=None, deadline_left_s=None)
    state = well(state, policy, now)
    return _misbehaves(state, policy, now, roll, _BROKEN_START) if state.misbehaves else (state, ())


def start_progressed(state: Ladder, seen: StartProgressed, policy: Policy, now: float, roll: float) -> Outcome:
    """Stretch the start deadline; never shorten it."""
    if state.deadline_mono is None or seen.until_mono <= state.deadline_mono or not heard(state, seen.instance):
        return state, ()
    state = replace(state, deadline_mono=seen.until_mono)
    if state.phase is Phase.ESCALATED:
        return replace(state, due_mono=alert.due(state, policy, now)), ()
    return (replace(state, due_mono=seen.until_mono) if state.phase is Phase.STARTING else state), ()


def checked(state: Ladder, seen: Checked, policy: Policy, now: float, roll: float) -> Outcome:
    """One verdict. The common case, good and well before, costs nothing and changes nothing."""
    verdict = seen.verdict
    if verdict is Verdict.STARVED or not heard(state, seen.instance):
        return state, ()
    if verdict is Verdict.OK:
        if not state.gate_passed or state.misbehaves:
            return (replace(state, strikes=0) if state.strikes else state), ()
        if not state.strikes and state.good_since_mono is not None:
            return recovered(state, policy, now) if _proves(state, policy, now) else (state, ())
        since = now if state.good_since_mono is None else state.good_since_mono
        return well(replace(state, strikes=0, good_since_mono=since), policy, now), ()
    if not state.gate_passed:
        # Before the gate only a stranger on the port is news; it explains a start that fails later.
        return (replace(state, strikes=state.strikes + 1) if verdict is Verdict.FOREIGN else state), ()
    if state.starved and verdict in (Verdict.SLOW, Verdict.FAILING):
        if not state.incident or state.good_since_mono is None:
            return state, ()
        return rearm(replace(state, good_since_mono=now), policy, now), ()  # no strike, but no good run either
    return _bad(state, verdict, policy, now, roll)


def behaved(state: Ladder, seen: Behaved, policy: Policy, now: float, roll: float) -> Outcome:
    """The sum of what its sources of behaviour say. Failing acts at once: their patience is over already.

    Before the gate it is only noted. While the host is starved it is not taken, and told again later.
    """
    if not heard(state, seen.instance) or (seen.failing, seen.sources) == (state.misbehaves, state.blamed):
        return state, ()
    if seen.failing:
        if state.starved:
            return state, ()
        before = state.misbehaves
        state = replace(state, misbehaves=True, blamed=seen.sources, good_since_mono=None)
        return (state, ()) if before or not state.gate_passed else _misbehaves(state, policy, now, roll, seen.cause)
    state = replace(state, misbehaves=False, blamed=())
    if not state.gate_passed or state.strikes:
        return state, ()
    return well(replace(state, good_since_mono=now), policy, now), ()


def _misbehaves(state: Ladder, policy: Policy, now: float, roll: float, cause: str) -> Outcome:
    """It is past its gate and a source of behaviour says that it fails."""
    if state.phase is Phase.UNHEALTHY:
        return state, ()
    if state.phase is Phase.ESCALATED:
        return replace(state, due_mono=alert.due(state, policy, now)), ()
    return climb.fail(state, policy, now, roll, cause or "did not behave")


def _proves(state: Ladder, policy: Policy, now: float) -> bool:
    """Whether a good check ends a confirmation that waits for one, since its time was up while starved."""
    since = state.good_since_mono
    return state.starved and state.incident > 0 and since is not None and now >= since + policy.confirm_s


def _bad(state: Ladder, verdict: Verdict, policy: Policy, now: float, roll: float) -> Outcome:
    state = replace(state, strikes=min(state.strikes + 1, policy.strikes), good_since_mono=None)
    if state.phase is Phase.UNHEALTHY:
        return state, ()
    if state.phase is Phase.ESCALATED:
        return replace(state, due_mono=alert.due(state, policy, now)), ()
    if verdict is Verdict.REFUSED or state.strikes >= policy.strikes:
        return climb.fail(replace(state, strikes=policy.strikes), policy, now, roll, _WORDS[verdict])
    if state.phase is Phase.RECOVERING:
        return replace(state, due_mono=None), ()
    return state, ()


def starved(state: Ladder, seen: Starved, policy: Policy, now: float, roll: float) -> Outcome:
    """Freeze the start deadline while starved; afterwards what was left of it runs on.

    A good run goes on too, unless its time was up meanwhile without a good check: nobody saw it, so it begins anew.
    """
    if seen.on == state.starved:
        return state, ()
    state = replace(state, starved=seen.on)
    if seen.on:
        if state.deadline_mono is not None:
            state = replace(state, deadline_mono=None, deadline_left_s=max(0.0, state.deadline_mono - now))
    else:
        if state.deadline_left_s is not None:
            state = replace(state, deadline_mono=now + state.deadline_left_s, deadline_left_s=None)
        since = state.good_since_mono
        if since is not None and now >= since + policy.confirm_s:
            state = replace(state, good_since_mono=now)
    return rearm(state, policy, now), ()


def rearm(state: Ladder, policy: Policy, now: float) -> Ladder:
    """Recompute the due time of a running instance after its deadline or good run moved."""
    if not state.running or state.pending is not Tier.NONE or state.phase is Phase.STOPPING:
        return state
    if state.phase is Phase.ESCALATED:
        return replace(state, due_mono=alert.due(state, policy, now))
    if state.phase is Phase.STARTING:
        return replace(state, due_mono=state.deadline_mono)
    return well(state, policy, now) if state.phase is Phase.RECOVERING else state


def degraded(state: Ladder, seen: Degraded, policy: Policy, now: float, roll: float) -> Outcome:
    """Shown, never acted upon."""
    if seen.text == state.degraded or not state.running:
        return state, ()
    state = replace(state, degraded=seen.text)
    if state.phase in (Phase.HEALTHY, Phase.DEGRADED):
        state = replace(state, phase=Phase.DEGRADED if seen.text else Phase.HEALTHY)
    return state, ()


def confirm(state: Ladder, policy: Policy, now: float) -> Outcome:
    """The confirmation's time is up: recovered, if the run was good and the host let us see it."""
    since = state.good_since_mono
    if since is None or not state.gate_passed:
        return replace(state, due_mono=None), ()
    if state.starved:  # a good check, or the end of it, decides
        return replace(state, due_mono=now + policy.retry_s if state.tier is Tier.ALERT else None), ()
    if now < since + policy.confirm_s:
        return replace(state, due_mono=since + policy.confirm_s), ()
    return recovered(state, policy, now)


def recovered(state: Ladder, policy: Policy, now: float) -> Outcome:
    """Close the incident; its counts begin to decay."""
    closed: tuple[Action, ...] = ()
    if state.incident:
        closed = (CloseIncident(incident=state.incident, outcome="recovered"),)
    state = replace(
        state,
        incident=0,
        tier=Tier.NONE,
        alerted=False,
        quiet_tries=0,
        next_try_mono=None,
        cause="",
        damaged="",
        strikes=0,
    )
    return well(restart.forget_old(state, policy, now), policy, now), closed
