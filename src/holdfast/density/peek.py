"""Whether a full look is worth its price: one number of the node says that nothing happened since the last.

On a node whose leases are all given out every 100 ms count, but reading every agent so often would cost several per
cent of a core. What all of them together took shows in what the node could still give. Invariants: at least one full
look in TICK_QUIET_S, in TICK_CALM_S while somebody starts, leaves or waits to come back, and one at once whenever
anything is under way. Pure. Called by the loop that feeds semaphore.
"""

from __future__ import annotations

from holdfast import limits
from holdfast.density import leases
from holdfast.density.model import Phase, Reading, State, Step


def worth_looking(state: State, reading: Reading, available_bytes: int, now: float) -> bool:
    """`reading`: the last one that was decided on; `available_bytes`: of the node, now. Ask at `state.due_mono` only:
    what the kernel tells is always worth a look."""
    if now - state.read_mono >= _longest_s(reading) or not reading.ceilings:
        return True
    if state.over_mono is not None or state.want_mono is not None:
        return True
    if any(one.pressing or one.starved_mono is not None or one.step is not Step.NONE for one in state.held.values()):
        return True
    bounds = leases.slack_bounds(reading.node_bytes, reading.reserve_bytes)
    return reading.available_bytes - available_bytes >= bounds.least_bytes // 2


def again_mono(state: State, now: float) -> float:
    """When to ask again after an answer of no: as soon as the last look found to be needed."""
    return now + max(limits.TICK_TIGHT_S, state.due_mono - state.read_mono)


def _longest_s(reading: Reading) -> float:
    """Between two looks, whatever the node says."""
    quiet = all(seen.phase is Phase.RUNNING or seen.phase is Phase.HIBERNATING for seen in reading.agents)
    return limits.TICK_QUIET_S if quiet else limits.TICK_CALM_S
