"""Agents that are set aside: wanted, but down for now, since their memory, or they themselves, are not needed here.

Three kinds: shed (went for another's memory), hibernating (was idle), spare (a replica not needed now). Being set aside
is a planned stop: no failure, no incident, no budget, no strike, and no start until it is called back.
Invariant: whoever is aside stays down until it is called back, over deaths of the keeper and late news of starts; an
open incident and its tier stay as they were, so that nobody climbs down the ladder by being shed.
Called by: triage, presence and orders. Pure.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.healing import restart
from holdfast.healing.actions import AskSlot, Outcome, StopTree
from holdfast.healing.model import CalledBack, Ladder, Phase, Policy, SetAside, Tier
from holdfast.limits import ACT_PATIENCE_S, QUEUE_ASK_S

# Nothing runs and init holds no permit: what is set aside here has nothing to stop.
_DOWN = frozenset({Phase.QUEUED, Phase.SHED, Phase.HIBERNATING, Phase.SPARE})


def set_aside(state: Ladder, seen: SetAside, policy: Policy, now: float, roll: float) -> Outcome:
    """Down, until called back. Told to init where anything may run or be about to."""
    if not state.wanted:
        return state, ()
    if state.aside and seen.why == "shed":
        return _hurried(state, seen, policy, now)
    if state.aside == seen.why and state.phase in _DOWN:
        return state, ()
    fresh = not state.aside
    if state.phase is Phase.RECOVERING and state.pending is Tier.RESTART:
        state = restart.count(state, policy, 1, now)  # it may come to pass before the stop does
    state = replace(
        state,
        aside=seen.why,
        aside_mono=now if fresh else state.aside_mono,
        aside_text=seen.text,
        aside_grace_s=seen.grace_s if fresh else _shorter(state.aside_grace_s, seen.grace_s),
        pending=Tier.NONE,
        by_init=False,
    )
    return (down(state), ()) if state.phase in _DOWN else stop(state, policy, now)


def _hurried(state: Ladder, seen: SetAside, policy: Policy, now: float) -> Outcome:
    """Memory is needed of one that is going already: it may have to go sooner."""
    grace_s = _shorter(state.aside_grace_s, seen.grace_s)
    if state.phase is not Phase.STOPPING or grace_s == state.aside_grace_s:
        return state, ()
    return stop(replace(state, aside_grace_s=grace_s), policy, now)


def _shorter(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def stop(state: Ladder, policy: Policy, now: float) -> Outcome:
    """The stop that sets it aside (again), until init says that it is down."""
    grace_s = policy.stop_grace_s if state.aside_grace_s is None else state.aside_grace_s
    due = now + ACT_PATIENCE_S + (grace_s if state.running else 0.0)
    state = replace(state, phase=Phase.STOPPING, planned_stop=True, pending=Tier.NONE, by_init=False, due_mono=due)
    return state, (StopTree(instance=state.instance, grace_s=grace_s),)


def down(state: Ladder) -> Ladder:
    """Its stop is over."""
    return replace(state, phase=Phase(state.aside), planned_stop=False, due_mono=None)


def called_back(state: Ladder, seen: CalledBack, policy: Policy, now: float, roll: float) -> Outcome:
    return back(state, now)


def back(state: Ladder, now: float) -> Outcome:
    """Into the queue of starts; where its stop is still under way, once that is over: it is not taken back."""
    if not state.aside:
        return state, ()
    if state.phase is Phase.STOPPING:
        return replace(state, aside="", aside_text=""), ()
    return queued(state, now)


def is_called_back(state: Ladder) -> bool:
    """Called back before its stop was over."""
    return state.phase is Phase.STOPPING and not state.aside and state.aside_mono is not None


def queued(state: Ladder, now: float) -> Outcome:
    """It waits for its start, from whose queue it came or not."""
    state = replace(forgotten(state), phase=Phase.QUEUED, planned_stop=False, due_mono=now + QUEUE_ASK_S)
    return state, (AskSlot(),)


def forgotten(state: Ladder) -> Ladder:
    """Nothing is left of its having been aside."""
    if not state.aside and state.aside_mono is None:
        return state
    return replace(state, aside="", aside_mono=None, aside_text="", aside_grace_s=None)
