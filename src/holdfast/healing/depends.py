"""Whether a queued agent may start as far as others are concerned. Pure.

Only starts wait (after `up`, a boot, a person's start); what fell and is being healed does not. A dependency that is
not in the fleet holds nobody up: reading the file refused it, so it was taken out since.
Called by keeper/acting/queue.py, level-triggered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.healing.model import Ladder, Phase
from holdfast.spec.model import Dependency

_GOOD = frozenset({Phase.HEALTHY, Phase.DEGRADED})


def met(condition: str, other: Ladder) -> bool:
    """Whether `other` is as `condition` asks: started, healthy or finished."""
    if other.phase is Phase.FINISHED:
        return True  # it did its job: it was started and was well
    if other.phase in (Phase.HIBERNATING, Phase.SPARE):
        return condition != "finished"  # it is as it has to be, and comes when it is needed
    if condition == "finished":
        return False
    if condition == "healthy":
        confirming = other.phase is Phase.RECOVERING and other.good_since_mono is not None
        return other.running and other.gate_passed and (other.phase in _GOOD or confirming)
    return other.running


def waits_for(needs: Iterable[Dependency], ladder_of: Callable[[str], Ladder | None]) -> str:
    """Why it has to wait, one clause; "" when it need not."""
    for need in needs:
        other = ladder_of(need.agent)
        if other is not None and not met(need.condition, other):
            word = {"started": "run", "healthy": "be healthy", "finished": "finish"}[need.condition]
            return f"waits for {need.agent} to {word} ({need.agent} is {other.phase})"
    return ""
