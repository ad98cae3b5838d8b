"""Tier 2: a new pod (cgroup, TMPDIR, sockets) around the same state. Once per window, and once per incident.

Called by: climb.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.healing.actions import Action, Recreate
from holdfast.healing.model import Ladder, Policy, Tier


def available(state: Ladder) -> bool:
    """Whether tier 2 may be used. recreated_mono is forgotten after a window without an incident."""
    return state.tier <= Tier.RECREATE and state.recreated_mono is None


def spend(state: Ladder, now: float) -> Ladder:
    """Charge the budget at the intent, not at the outcome: a crash in the middle must not buy a second one."""
    return replace(state, recreated_mono=now)


def act(state: Ladder, policy: Policy) -> Action:
    return Recreate(instance=state.instance, grace_s=policy.hung_grace_s)
