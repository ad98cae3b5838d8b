"""The start gate: what a starting agent is asked, how often, and when its time is up. Pure.

A fixed deadline turns slow starts on a loaded machine into a restart storm, so the deadline waits for CPU, not only for
time: while the agent goes on using CPU and has not yet had what a start may cost, or while the host is starved, it is
prolonged, up to START_STRETCH_MAX times the start period. A start that does nothing gets no prolongation.
Called by the keeper's health loop.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast import limits
from holdfast.spec.model import Health, HttpProbe


class Gate(NamedTuple):
    """One start being watched. Immutable; `look` yields the next."""

    instance: int
    started_mono: float
    deadline_mono: float
    looked_mono: float  # when CPU was last looked at
    cpu_s: float  # CPU seconds used by the instance until then


def question(health: Health, passed: bool) -> HttpProbe | None:
    """What to ask now: the gate's probe until it passed once, then `http`. None: nothing is to be asked."""
    return health.http if passed else health.start_gate or health.http


def interval_s(health: Health, passed: bool) -> float:
    """A gate is asked more often, so that a recovery is seen as soon as it is there."""
    return health.interval_s if passed else min(health.interval_s, limits.GATE_INTERVAL_S)


def has_gate(health: Health) -> bool:
    return question(health, passed=False) is not None


def opened(health: Health, instance: int, now: float) -> Gate:
    return Gate(instance, now, now + health.start_period_s, now, 0.0)


def look(gate: Gate, health: Health, cpu_s: float, now: float, starved: bool) -> Gate:
    """Take a look at the CPU used so far (seconds, whole tree) and prolong the deadline where that is just.

    `gate.deadline_mono` of the result is the deadline to go by. Looks closer than GATE_LOOK_S change nothing, and
    a look is due shortly before the deadline; the owner may simply look at every tick.
    """
    elapsed = now - gate.looked_mono
    if elapsed < limits.GATE_LOOK_S:
        return gate
    burned = max(0.0, cpu_s - gate.cpu_s)
    may_cost_s = health.start_cpu_s if health.start_cpu_s is not None else health.start_period_s
    works = burned >= limits.GATE_PROGRESS_SHARE * elapsed and cpu_s < may_cost_s
    deadline = gate.deadline_mono
    if works or starved:
        last = gate.started_mono + health.start_period_s * limits.START_STRETCH_MAX
        deadline = min(last, max(deadline, now + 3 * limits.GATE_LOOK_S))
    return gate._replace(deadline_mono=deadline, looked_mono=now, cpu_s=cpu_s)
