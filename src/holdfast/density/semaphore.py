"""The RAM semaphore's one door: from what was read to what has to be done, so that nobody important dies of another.

`decide` is pure and total: any reading is legal at any time, the same arguments give the same answer, and it is
level-triggered: what a reading does not show done is asked for again. Invariants (checked by tests/simulation): the
sum of leases never exceeds the budget; nobody goes before somebody less important; nobody stays paused; who fits comes
back. Called by the keeper at `due_mono`, and at once when the kernel or init says that something changed.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast import limits
from holdfast.density import braking, coming_back, easing, leases, needs, shedding
from holdfast.density.admission import PASS_AFTER_S
from holdfast.density.leases import ALIVE, Granted, Slack
from holdfast.density.model import Action, Held, Outcome, Phase, Reading, Seen, Starved, State, Step, Thaw
from holdfast.density.needs import Need

FASTEST_BYTES_S = 1_500_000_000  # measured: what one machine of this kind can touch; how often to look follows from it
_BUSY_BYTES_S = 1024 * 1024


def decide(state: State, reading: Reading, now: float) -> Outcome:
    """What follows from a reading. `now`: seconds of the monotonic clock, never less than before."""
    bounds = leases.slack_bounds(reading.node_bytes, reading.reserve_bytes, len(reading.agents))
    held = _follow(state, reading, bounds, now)
    granted = leases.grant(reading, held, bounds)
    free = granted.free_bytes
    for seen in reading.agents:
        if seen.phase is not Phase.SHED:
            held[seen.name] = needs.starved(seen, held[seen.name], granted.leases[seen.name], bounds, now)
    over_mono = (now if state.over_mono is None else state.over_mono) if needs.eaten(reading, free) else None
    want_mono = _want_mono(state, reading, free, now)
    found = needs.due(reading, held, granted.leases, bounds, free, over_mono, want_mono, now)
    actions = _go_on(state, reading, held, granted, found, now)
    chosen = shedding.choose(reading, held, granted.leases, found, now)
    if chosen is not None:
        victim, need, left = chosen
        known, lease = held[victim.name], granted.leases[victim.name]
        held[victim.name], acts = shedding.begin(victim, need, known, lease, left, now)
        actions += acts
    held, soft = easing.look(reading, held, granted.budget_bytes, free, now)
    back = coming_back.look(reading, held, state.room_mono, granted.budget_bytes, free, now)
    final = leases.grant(reading, held, bounds) if actions else granted
    important = leases.protected(reading)
    actions = [*_memory_acts(reading, held, final, important), *actions, *soft, *back.actions]
    for seen in reading.agents:
        held[seen.name], told = _tell(
            seen, held[seen.name], leases.kernel_holds(reading, seen) and seen.name not in important
        )
        actions += told
    new = State(
        held=held,
        leases=final.leases,
        budget_bytes=final.budget_bytes,
        free_bytes=final.free_bytes,
        room_mono=back.room_mono,
        want_mono=_want_mono(state, reading, final.free_bytes, now),  # who goes may have made room by being paused
        over_mono=over_mono,
        read_mono=now,
    )
    return replace(new, due_mono=_due(new, reading, now)), tuple(actions)


def room(state: State) -> int:
    """Bytes that starts may take now; nothing while somebody's need is not covered, or while room is made for one."""
    waiting = any(one.starved_mono is not None for one in state.held.values())
    return 0 if waiting or state.over_mono is not None or _makes_room(state) else max(0, state.free_bytes)


def _makes_room(state: State) -> bool:
    """Whether somebody goes for a start that still lacks room: what it leaves is for that one, not for who is next."""
    return state.want_mono is not None and any(
        one.victim_of not in (needs.NODE, *state.leases)
        and one.leaving_mono is not None
        and state.read_mono - one.leaving_mono < PASS_AFTER_S
        for one in state.held.values()
    )


# --- pieces ------------------------------------------------------------------------------------------------------
def _follow(state: State, reading: Reading, bounds: Slack, now: float) -> dict[str, Held]:
    """One more look at everybody; who is left out is forgotten, but for how often it was shed of late."""
    held: dict[str, Held] = {}
    for seen in reading.agents:
        before = state.held.get(seen.name)
        if seen.phase is Phase.SHED:
            sheds = before.sheds_mono if before else () if seen.shed_mono is None else (seen.shed_mono,)
            held[seen.name] = Held(sheds_mono=sheds, told_starved=before.told_starved if before else False)
            continue
        if before is not None and before.instance != seen.instance:  # its groups are new, and nothing is in them
            before = Held(instance=seen.instance, sheds_mono=before.sheds_mono, told_starved=before.told_starved)
        known = leases.follow(before, seen, state.leases.get(seen.name), bounds, now)
        held[seen.name] = shedding.track(seen, known, now)
    for name, known in state.held.items():
        if name not in held and any(now - at < limits.BACK_FORGET_S for at in known.sheds_mono):
            held[name] = Held(sheds_mono=known.sheds_mono)
    return held


def _want_mono(state: State, reading: Reading, free: int, now: float) -> float | None:
    if reading.want is None or reading.want.need_bytes <= free:
        return None
    return now if state.want_mono is None else max(state.want_mono, reading.want.since_mono)  # it may be another's


def _go_on(
    state: State, reading: Reading, held: dict[str, Held], granted: Granted, found: list[Need], now: float
) -> list[Action]:
    """What was begun with agents goes on: the steps of shedding, brakes, and what is frozen without a reason."""
    highest, important = needs.highest(reading), leases.protected(reading)
    lefts = [needs.left_s(reading, one, held, granted.leases, now) for one in found]
    left_s = min(lefts, default=2 * limits.SHED_GRACE_S)
    actions: list[Action] = []
    for seen in reading.agents:
        if seen.phase is Phase.SHED:
            continue
        before = held[seen.name]
        needed = before.victim_of == seen.name or any(one.calls_for(seen.priority, highest) for one in found)
        known, acts = shedding.go_on(seen, before, needed, left_s, now)
        if not leases.kernel_holds(reading, seen) and not acts:
            lease, former = granted.leases[seen.name], state.leases.get(seen.name)
            known, acts = braking.brake(seen, known, former, lease, seen.name in important, now)
        if seen.frozen and not acts and not _may_be_frozen(seen, known):
            acts = [Thaw(agent=seen.name)]
        held[seen.name] = known
        actions += acts
    return actions


def _may_be_frozen(seen: Seen, held: Held) -> bool:
    return seen.phase in (Phase.HIBERNATING, Phase.LEAVING) or held.step in (Step.PAUSED, Step.KILLING)


def _memory_acts(reading: Reading, held: dict[str, Held], granted: Granted, important: frozenset[str]) -> list[Action]:
    """Ceilings and protection."""
    acts: list[Action] = [*leases.ceilings(reading, granted.leases)]
    for seen in reading.agents:
        if seen.phase is not Phase.SHED:
            lease = granted.leases[seen.name]
            held[seen.name], more = leases.protect(seen, held[seen.name], lease, seen.name in important)
            acts += more
    return acts


def _tell(seen: Seen, held: Held, holds: bool) -> tuple[Held, list[Action]]:
    """Whether its ladder must know that it is held back."""
    alive = seen.phase in ALIVE
    on = alive and (held.step in (Step.PAUSED, Step.KILLING) or (holds and held.starved_mono is not None))
    if on == held.told_starved:
        return held, []
    return replace(held, told_starved=on), [Starved(agent=seen.name, on=on)]


def _due(state: State, reading: Reading, now: float) -> float:
    """When to look again: so soon that the fastest machine cannot take half of what is left until then."""
    known = [state.held[seen.name] for seen in reading.agents]
    tight = (
        easing.scarce(state.budget_bytes, state.free_bytes)
        or state.over_mono is not None
        or any(one.starved_mono is not None or one.step is not Step.NONE for one in known)
    )
    busy = any(one.pressing or one.rate_bytes_s > _BUSY_BYTES_S for one in known)
    least = limits.TICK_TIGHT_S if leases.all_held(reading) else limits.TICK_BLIND_S
    left = max(0, state.free_bytes) + reading.reserve_bytes // 2
    wait_s = min(limits.TICK_CALM_S, max(least, left / 2 / FASTEST_BYTES_S))
    if busy:
        wait_s = min(wait_s, limits.TICK_BUSY_S)
    if tight and busy:
        wait_s = least
    soon = [one.deadline_mono for one in known if one.deadline_mono is not None and one.deadline_mono > now]
    soon += [now + limits.TICK_TIGHT_S] if reading.want is not None and state.want_mono is not None else []
    return min([now + wait_s, *soon])
