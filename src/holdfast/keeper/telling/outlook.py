"""What an agent has ahead of it: budgets left, the next act and its time, planned restarts, maintenance. Pure.

Invariant: the same rules that act are asked, so `describe` promises nothing the ladder would not do. Called by the API
for `describe`.
"""

from __future__ import annotations

from msgspec import Struct

from holdfast.healing import planned, recreate, restart, restore
from holdfast.healing.model import Ladder, Policy, Tier
from holdfast.keeper.agent import Agent
from holdfast.keeper.watching import behaviour


class Budget(Struct, frozen=True, kw_only=True):
    """What one tier may still do. `back_in_s`: when the next piece comes back; None: it is whole, or see `why`."""

    tier: int
    name: str
    total: int
    left: int
    back_in_s: float | None = None
    why: str = ""


class Standing(Struct, frozen=True, kw_only=True):
    """What one source says of the running instance."""

    source: str
    judgement: str
    detail: str


class Outlook(Struct, frozen=True, kw_only=True):
    """`next_in_s`: when the ladder's next act is due; None also while init does it, by its own clock.

    Times `*_at` are wall clock seconds since the epoch.
    """

    incident: str | None
    budgets: tuple[Budget, ...]
    next_in_s: float | None
    quiet_tries: int
    observed: tuple[Standing, ...]
    planned_restart_at: float | None
    maintenance: bool
    maintenance_turns_at: float | None  # when maintenance begins or ends next; None: never by itself


def of(agent: Agent, now_mono: float, now_at: float) -> Outlook:
    """Everything about one agent."""
    ladder, spec = agent.ladder, agent.spec
    return Outlook(
        incident=None if agent.incident is None else agent.incident.id,
        budgets=budgets(ladder, agent.policy, now_mono),
        next_in_s=None if ladder.due_mono is None or ladder.by_init else round(max(0.0, ladder.due_mono - now_mono), 3),
        quiet_tries=ladder.quiet_tries,
        observed=tuple(
            Standing(source=one.source, judgement=one.judgement.value, detail=one.detail)
            for one in behaviour.standing(agent)
        ),
        planned_restart_at=planned.following(spec.restart.at, now_at) if spec.restart.at else None,
        maintenance=planned.hands_off(spec.maintenance, now_at),
        maintenance_turns_at=planned.hands_off_turns_at(spec.maintenance, now_at),
    )


def budgets(ladder: Ladder, policy: Policy, now: float) -> tuple[Budget, ...]:
    """Tiers 1 to 3; the third only where there is something to restore."""
    total = len(policy.backoff_s)
    left = total - restart.used(ladder, policy, now) if restart.available(ladder, policy, now) else 0
    found = [_budget(ladder, policy, now, Tier.RESTART, "restart", total, left, ladder.restarts_mono[:1])]
    once = (ladder.recreated_mono,) if ladder.recreated_mono is not None else ()
    found.append(_budget(ladder, policy, now, Tier.RECREATE, "recreate", 1, int(recreate.available(ladder)), once))
    if policy.restore_available:
        once = (ladder.restored_mono,) if ladder.restored_mono is not None else ()
        left = int(restore.available(ladder, policy))
        found.append(_budget(ladder, policy, now, Tier.RESTORE, "restore", 1, left, once))
    return tuple(found)


def _budget(
    ladder: Ladder,
    policy: Policy,
    now: float,
    tier: Tier,
    name: str,
    total: int,
    left: int,
    spent_mono: tuple[float, ...],
) -> Budget:
    """`spent_mono`: when the oldest piece that still counts was spent."""
    if left == total:
        return Budget(tier=int(tier), name=name, total=total, left=left)
    if ladder.incident:
        why = "left behind in this incident" if ladder.tier > tier else "comes back after the open incident"
        return Budget(tier=int(tier), name=name, total=total, left=left, why=why)
    back_in_s = round(max(0.0, spent_mono[0] + policy.window_s - now), 3) if spent_mono else None
    return Budget(tier=int(tier), name=name, total=total, left=left, back_in_s=back_in_s)
