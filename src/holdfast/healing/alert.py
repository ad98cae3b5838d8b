"""Tier 4: one alert per incident, then quiet tries, for ever: never silence, never giving up, never a storm.

Invariant: in ESCALATED there is always a next try at most Policy.retry_max_s away, or a start or a good run under
observation that ends sooner.
Called by: climb, presence, validate, orders and triage.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.healing import restart
from holdfast.healing.actions import Action, Alert, Outcome
from holdfast.healing.model import Ladder, Phase, Policy, Tier


def quiet_delay_s(policy: Policy, tries: int, roll: float) -> float:
    """Seconds to the next quiet try: retry_s, doubling, at most retry_max_s (jitter included)."""
    doubled = policy.retry_s * 2.0 ** min(tries, 30)
    return min(doubled * (1 + policy.jitter * roll), policy.retry_max_s)


def escalate(state: Ladder, policy: Policy, now: float, roll: float) -> Outcome:
    """Enter tier 4. A hung instance is left alone until the first try: what it still does may be worth something."""
    said: tuple[Action, ...] = () if state.alerted else (Alert(incident=state.incident, cause=state.cause),)
    state = replace(
        state,
        phase=Phase.ESCALATED,
        tier=Tier.ALERT,
        pending=Tier.NONE,
        by_init=False,
        alerted=True,
        quiet_tries=0,
        next_try_mono=now + quiet_delay_s(policy, 0, roll),
    )
    return replace(state, due_mono=due(state, policy, now)), said


def due(state: Ladder, policy: Policy, now: float) -> float:
    """When to look again in ESCALATED: end of the confirmation, else the next try, but not inside a running start."""
    if state.running and state.gate_passed and state.good_since_mono is not None:
        return state.good_since_mono + policy.confirm_s
    at = now if state.next_try_mono is None else max(now, state.next_try_mono)
    at = max(at, restart.spaced(state, policy, now))
    return at if state.deadline_mono is None else max(at, state.deadline_mono)


def quiet_try(state: Ladder, policy: Policy, now: float, roll: float) -> Outcome:
    """One try, and the time of the next one with it: whatever becomes of this try, there is another.

    While the host is starved a start cannot prove anything: it is left to go on, and looked at again later.
    """
    if state.running and state.deadline_left_s is not None:
        return replace(state, due_mono=now + policy.retry_s), ()
    tries = state.quiet_tries + 1
    next_try = now + quiet_delay_s(policy, tries, roll)
    state = replace(state, quiet_tries=tries, next_try_mono=next_try, due_mono=next_try, pending=Tier.ALERT)
    return state, (restart.act(state, policy, Tier.ALERT, hung=True),)
