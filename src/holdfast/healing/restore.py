"""Tier 3: put back the known-good state. Once per window and incident; skipped where there is no snapshot.

Called by: climb, triage. Pure.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.healing.actions import Action, Restore
from holdfast.healing.model import Ladder, Policy, Tier


def available(state: Ladder, policy: Policy) -> bool:
    """Whether tier 3 may be used: something to restore exists, and it was not done in this incident or window."""
    return policy.restore_available and state.tier <= Tier.RESTORE and state.restored_mono is None


def spend(state: Ladder, now: float) -> Ladder:
    """Charge the budget at the intent, as in tier 2."""
    return replace(state, restored_mono=now, damaged="")


def act(state: Ladder, policy: Policy) -> Action:
    return Restore(instance=state.instance, grace_s=policy.hung_grace_s)
