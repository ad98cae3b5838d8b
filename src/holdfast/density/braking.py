"""Where no kernel holds the leases: an agent that outran its own is paused by us until there is more, for a moment.

Invariant: no brake lasts beyond PAUSE_MAX_S and none comes before the agent rested; the protected are never braked.
Pure. Called by semaphore.
"""

from __future__ import annotations

from msgspec.structs import replace

from holdfast import limits
from holdfast.density.leases import ALIVE
from holdfast.density.model import Action, Freeze, Held, Lease, Seen, Step, Thaw


def brake(
    seen: Seen, held: Held, before: Lease | None, lease: Lease, important: bool, now: float
) -> tuple[Held, list[Action]]:
    """Pause it, or let it go on. `before`: what it was granted at the last look."""
    if held.braked:
        if held.step is Step.PAUSED and (important or lease.slack_bytes >= lease.wanted_bytes / 2 or _over(held, now)):
            rests = now + limits.PAUSE_REST_S if _over(held, now) else held.rested_mono
            free = replace(held, step=Step.NONE, braked=False, deadline_mono=None, rested_mono=rests)
            return free, [Thaw(agent=seen.name)]
        lost = held.step is Step.PAUSED and not seen.frozen and seen.phase in ALIVE
        return held, [Freeze(agent=seen.name, until_mono=held.step_mono + limits.PAUSE_MAX_S)] if lost else []
    if (
        important
        or held.step is not Step.NONE
        or seen.phase not in ALIVE
        or now < held.rested_mono
        or not seen.may_shed
    ):
        return held, []
    outran = before is not None and seen.usage_bytes >= before.lease_bytes
    if not outran or not held.pressing or lease.slack_bytes >= lease.wanted_bytes / 2:
        return held, []
    until = now + limits.PAUSE_MAX_S
    paused = replace(held, step=Step.PAUSED, braked=True, step_mono=now, deadline_mono=until)
    return paused, [Freeze(agent=seen.name, until_mono=until)]


def _over(held: Held, now: float) -> bool:
    return held.deadline_mono is not None and now >= held.deadline_mono
