"""Tier 1: restart in place. Its budget, its delays, and what init may do without asking.

Invariant: restarts that count never exceed the budget inside a window, and none comes sooner after the previous
start than the recipe's spacing (the first one excepted). Counts decay only while no incident is open: an agent whose
every start takes minutes to fail would otherwise climb for ever without anybody being told.
Called by: climb, presence, validate and triage (all pure).
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.healing.actions import Action, RestartTree, Start
from holdfast.healing.model import ASIDE_PHASES, Ladder, PermitTerms, Phase, Policy, Tier

_NEVER_BY_PERMIT = frozenset({Phase.STOPPING, Phase.STOPPED, Phase.FINISHED, Phase.ESCALATED}) | ASIDE_PHASES


def forget_old(state: Ladder, policy: Policy, now: float) -> Ladder:
    """Drop counts older than the window. The same object when nothing is that old or an incident is open."""
    if state.incident:
        return state
    window_s = policy.window_s  # compared as `at + window`, exactly as decay_due adds: a timer must find its work
    if state.restarts_mono and state.restarts_mono[0] + window_s <= now:
        state = replace(state, restarts_mono=tuple(at for at in state.restarts_mono if at + window_s > now))
    if state.memory_deaths_mono and state.memory_deaths_mono[0] + window_s <= now:
        kept = tuple(at for at in state.memory_deaths_mono if at + window_s > now)
        state = replace(state, memory_deaths_mono=kept)
    if state.recreated_mono is not None and state.recreated_mono + window_s <= now:
        state = replace(state, recreated_mono=None)
    if state.restored_mono is not None and state.restored_mono + window_s <= now:
        state = replace(state, restored_mono=None)
    return state


def decay_due(state: Ladder, policy: Policy) -> float | None:
    """When the oldest count will be forgotten; None when nothing counts."""
    oldest = [*state.restarts_mono[:1], *state.memory_deaths_mono[:1]]
    oldest += [at for at in (state.recreated_mono, state.restored_mono) if at is not None]
    return min(oldest) + policy.window_s if oldest else None


def used(state: Ladder, policy: Policy, now: float) -> int:
    """Tier-1 restarts that count against the budget at `now`."""
    if state.incident:
        return len(state.restarts_mono)
    return sum(1 for at in state.restarts_mono if at + policy.window_s > now)


def count(state: Ladder, policy: Policy, restarts: int, now: float) -> Ladder:
    """Charge `restarts` to the budget. Never more than the budget holds: one missed hour must not overfill it."""
    charged = min(restarts, len(policy.backoff_s) - len(state.restarts_mono))
    if restarts <= 0:
        return state
    return replace(
        state,
        restarts_mono=state.restarts_mono + (now,) * max(charged, 0),
        restarts_total=state.restarts_total + restarts,
    )


def memory_deaths(state: Ladder, policy: Policy, now: float) -> int:
    """Deaths by its own use of memory that count at `now`."""
    if state.incident:
        return len(state.memory_deaths_mono)
    return sum(1 for at in state.memory_deaths_mono if at + policy.window_s > now)


def count_memory_death(state: Ladder, policy: Policy, now: float) -> Ladder:
    """Two are all that is ever asked for."""
    state = forget_old(state, policy, now)
    return replace(state, memory_deaths_mono=(*state.memory_deaths_mono, now)[-2:])


def available(state: Ladder, policy: Policy, now: float) -> bool:
    """Whether tier 1 may be used: not yet beyond it in this incident, and budget left."""
    return state.tier <= Tier.RESTART and used(state, policy, now) < len(policy.backoff_s)


def act_at(state: Ladder, policy: Policy, now: float, roll: float) -> float:
    """When the next tier-1 restart may happen; the first is free of spacing."""
    spent = used(state, policy, now)
    at = now + policy.backoff_s[spent] * (1 + policy.jitter * roll)
    return max(at, spaced(state, policy, now)) if spent else at


def spaced(state: Ladder, policy: Policy, now: float) -> float:
    """Earliest time that keeps the recipe's spacing to the last start; now at the soonest."""
    return now if state.last_start_mono is None else max(now, state.last_start_mono + policy.spacing_s)


def act(state: Ladder, policy: Policy, tier: Tier, hung: bool) -> Action:
    """The act of a restart in place, also used by quiet tries and by people: the tree when it lives, else a start."""
    if state.running:
        grace_s = policy.hung_grace_s if hung else policy.stop_grace_s
        return RestartTree(instance=state.instance, tier=tier, hung=hung, grace_s=grace_s)
    return Start(instance=state.instance, tier=tier)


def permit(state: Ladder, policy: Policy, now: float, roll: float) -> PermitTerms | None:
    """What init may restart without asking at `now`: the tier-1 delays left, jittered. None: leave what init has.

    Empty when stopping, aside, finished, escalated, beyond tier 1, its state damaged, after a death for memory, or the
    budget used. A restart the keeper has sent is taken out. While init itself is to restart (BACKOFF) its list is left
    alone: it may or may not have taken the head already. The spacing is in `not_before_mono` for the head and inside
    the delays of the rest, because the keeper may be dead when they are used.
    """
    none = PermitTerms(instance=state.instance)
    if not state.wanted or state.phase in _NEVER_BY_PERMIT or state.planned_stop or policy.hands_off:
        return none
    if state.tier > Tier.RESTART or state.pending > Tier.RESTART:
        return none
    if state.phase is Phase.BACKOFF:
        return None
    if state.damaged or memory_deaths(state, policy, now):
        return none  # a restart may only fail again: let init ask
    taken = state.phase is Phase.RECOVERING and state.pending is Tier.RESTART
    spent = used(state, policy, now) + taken
    stretch = 1 + policy.jitter * roll
    left = [delay_s * stretch for delay_s in policy.backoff_s[spent:]]
    if not left:
        return none
    if policy.spacing_s:
        # The head counts from a start already made, unless one is yet to come: then it needs the spacing inside too.
        head = 0 if spent and (taken or not state.running) else 1
        left[head:] = [max(delay_s, policy.spacing_s) for delay_s in left[head:]]
    not_before = spaced(state, policy, now) if spent and policy.spacing_s else 0.0
    return PermitTerms(
        delays_s=tuple(left),
        not_before_mono=not_before,
        instance=state.instance,
        while_running=state.running and not taken,
    )
