"""The soft steps, taken while memory grows scarce and nobody has to go yet: ask, page out, put to sleep.

Invariant: the least important first, never the same agent more often than every SOFT_EVERY_S, only as much as is
missing; nothing here stops an agent that is not idle. Pure. Called by semaphore.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast import limits
from holdfast.density.leases import ALIVE
from holdfast.density.model import Ask, Held, Hibernate, PageOut, Reading, Seen, Step


def scarce(budget: int, free: int) -> bool:
    """Less is free than the soft steps are there to keep free."""
    return free < budget * limits.SOFT_TIGHT_SHARE


def look(
    reading: Reading, held: dict[str, Held], budget: int, free: int, now: float
) -> tuple[dict[str, Held], list[Ask | PageOut | Hibernate]]:
    """What to ask of whom. Whoever has the highest priority present is not bothered."""
    if not scarce(budget, free):
        return held, []
    missing = int(budget * limits.SOFT_TIGHT_SHARE) - free
    highest = max((seen.priority for seen in reading.agents), default=0)
    actions: list[Ask | PageOut | Hibernate] = []
    swap = reading.swap_free_bytes
    after = dict(held)
    for seen in sorted(reading.agents, key=lambda one: (one.priority, -one.usage_bytes, one.name)):
        known = after[seen.name]
        if missing <= 0:
            break
        if seen.phase not in ALIVE or known.step is not Step.NONE or now - known.soft_mono < limits.SOFT_EVERY_S:
            continue
        if seen.priority == highest and not seen.idle:
            continue
        act = _softest(seen, swap, missing)
        if act is None:
            continue
        if isinstance(act, PageOut):
            swap -= seen.usage_bytes
        actions.append(act)
        after[seen.name] = replace(known, soft_mono=now)
        missing -= seen.usage_bytes if not isinstance(act, Ask) else 0  # who is asked may say no
    return after, actions


def _softest(seen: Seen, swap: int, missing: int) -> Ask | PageOut | Hibernate | None:
    if seen.idle and seen.may_hibernate:
        return Hibernate(agent=seen.name)
    if seen.idle and seen.can_page and swap >= seen.usage_bytes:
        return PageOut(agent=seen.name)
    if seen.can_ask:
        return Ask(agent=seen.name, bytes=missing)
    return None
