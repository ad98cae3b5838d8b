"""Start slots: how much of the machine's CPU a start takes, so that a herd of heavy starts does not starve itself.

A slot is one core; a start takes slots by the CPU seconds it was seen to cost. Invariant: no start takes more slots
than there are cores, so that one always fits when none is under way. Called by: the queue of starts, whose rule is
density/admission.py. Pure.
"""

from __future__ import annotations

from holdfast.limits import SLOT_CPU_S, START_LIGHT_CPU_S, START_UNKNOWN_CPU_S


def light(start_cpu_s: float | None) -> bool:
    """Seen to start so cheaply that waiting would cost more than it saves."""
    return start_cpu_s is not None and start_cpu_s < START_LIGHT_CPU_S


def weight(start_cpu_s: float | None, cores: int) -> float:
    """Slots a start takes; at most all of them, so that the heaviest still fits alone. None: never seen."""
    if light(start_cpu_s):
        return 0.0
    cost_s = START_UNKNOWN_CPU_S if start_cpu_s is None else start_cpu_s
    return min(cost_s / SLOT_CPU_S, float(max(cores, 1)))
