"""Whether a full look is worth its price: one number of the node says that nothing happened since the last.

On a node whose leases are all given out every 100 ms count, but reading every agent so often would cost several per
cent of a core. What all of them together took shows in what the node could still give; where much is free, a small part
of it is no news. Invariants: at least one full look in TICK_QUIET_S (in TICK_ROOMY_S where the kernel holds everybody
and memory is far from scarce), in TICK_CALM_S while somebody starts, leaves or waits to come back, and one at once
whenever anything is under way. Where no kernel holds somebody, looks are due far more often, and whatever is under way
shows in the same number: there a full look is taken in TICK_TIGHT_S, and before when the number moved or a time is
over. Pure. Called by the loop that feeds semaphore.
"""

from __future__ import annotations

from holdfast import limits
from holdfast.density import easing, leases
from holdfast.density.model import Phase, Reading, State, Step


def worth_looking(state: State, reading: Reading, available_bytes: int, now: float) -> bool:
    """`reading`: the last one that was decided on; `available_bytes`: of the node, now. Ask at `state.due_mono` only:
    what the kernel tells is always worth a look."""
    roomy = _is_roomy(state, reading)
    if now - state.read_mono >= _longest_s(reading, roomy):
        return True
    if not leases.all_held(reading):
        return _worth_it_blind(state, reading, available_bytes, now)
    if state.over_mono is not None or state.want_mono is not None:
        return True
    if any(one.pressing or one.starved_mono is not None or one.step is not Step.NONE for one in state.held.values()):
        return True
    bounds = leases.slack_bounds(reading.node_bytes, reading.reserve_bytes, len(reading.agents))
    little = int(state.free_bytes * limits.TICK_ROOMY_SHARE) if roomy else 0
    return reading.available_bytes - available_bytes >= max(bounds.least_bytes // 2, little)


def _worth_it_blind(state: State, reading: Reading, available_bytes: int, now: float) -> bool:
    least = leases.slack_bounds(reading.node_bytes, reading.reserve_bytes, len(reading.agents)).least_bytes
    moved = reading.available_bytes - available_bytes
    if now - state.read_mono >= limits.TICK_TIGHT_S or moved >= least // 4:
        return True
    known = state.held.values()
    waits = any(one.starved_mono is not None or one.step is not Step.NONE for one in known)
    if waits and -moved >= least // 4:
        return True
    times = [one.deadline_mono for one in known if one.deadline_mono is not None]
    starts = [*(one.starved_mono for one in known), state.over_mono]
    times += [since + limits.STARVED_S for since in starts if since is not None]
    return any(state.read_mono < at <= now for at in times)


def again_mono(state: State, now: float) -> float:
    """When to ask again after an answer of no: as soon as the last look found to be needed."""
    return now + max(limits.TICK_BLIND_S, state.due_mono - state.read_mono)


def _is_roomy(state: State, reading: Reading) -> bool:
    """Whether so much is free that nobody's growth within its ceiling, or a little beyond its lease, matters."""
    return leases.all_held(reading) and not easing.scarce(state.budget_bytes, state.free_bytes)


def _longest_s(reading: Reading, roomy: bool) -> float:
    """Between two looks, whatever the node says."""
    if all(seen.phase is Phase.RUNNING or seen.phase is Phase.HIBERNATING for seen in reading.agents):
        return limits.TICK_ROOMY_S if roomy else limits.TICK_QUIET_S
    return limits.TICK_CALM_S
