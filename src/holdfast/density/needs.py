"""Whose need is not covered, since when, and how much memory is missing: the reasons for which somebody may be shed.

A need comes from an agent that presses and is not granted what it takes, from the reserve being eaten, or from a start
that only less important agents keep out. Pure. Called by semaphore, which keeps the times, and read by shedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from holdfast import limits
from holdfast.density.leases import ALIVE, Slack, kernel_holds, protected
from holdfast.density.model import Held, Lease, Phase, Reading, Seen, Step

NODE = ""  # the needer when the reserve is being eaten
_EATEN = 1 / 8  # of the reserve: readings of a full node tremble by less
_DEEP = 1 / 4  # of the reserve is all that is left: then even the most important go, before the kernel chooses


class Need(NamedTuple):
    """`own`: an equal, or itself, may go for it. `start`: of a start. `last`: it cannot wait for memory on its way."""

    name: str
    priority: float
    short_bytes: int
    since_mono: float
    own: bool
    reason: str
    start: bool = False
    last: bool = False

    def calls_for(self, priority: int, highest: int) -> bool:
        """Whether an agent of this priority may go for it: less important; or an equal, when nothing else is left."""
        if self.name == NODE:
            return self.own or priority < highest
        return self.priority > priority or (self.own and self.priority == priority)


def starved(seen: Seen, held: Held, lease: Lease, bounds: Slack, now: float) -> Held:
    """Keep the time since when an agent's need is not covered."""
    able = seen.phase in ALIVE and (held.step is Step.NONE or held.braked)
    hungry = able and held.pressing and missing(held, lease, bounds) > 0
    if not hungry:
        return held if held.starved_mono is None else replace(held, starved_mono=None)
    since = now if held.starved_mono is None else held.starved_mono
    fed = max(bounds.least_bytes, limits.FED_BYTES_S * (now - held.stuck_mono))
    if held.starved_mono is None or held.usage_bytes >= held.stuck_bytes + fed:
        return replace(held, starved_mono=since, stuck_mono=now, stuck_bytes=held.usage_bytes)
    return held


def missing(held: Held, lease: Lease, bounds: Slack) -> int:
    """Bytes without which it cannot go on: less than the slack it wants, which is for comfort. Who outran its lease and
    is paused for it shows no growth, and grows as before when it is let go: it needs all of that slack."""
    if held.braked:
        return lease.short_bytes
    return max(0, min(lease.wanted_bytes, max(bounds.least_bytes, 2 * held.growth_bytes)) - lease.slack_bytes)


def eaten(reading: Reading, free: int) -> bool:
    """More is used than there is: the reserve is being eaten."""
    return -free > reading.reserve_bytes * _EATEN


def due(
    reading: Reading,
    held: Mapping[str, Held],
    leases: Mapping[str, Lease],
    bounds: Slack,
    free: int,
    over_mono: float | None,
    want_mono: float | None,
    now: float,
) -> list[Need]:
    """The needs that waited long enough, the most important first."""
    found: list[Need] = []
    important = protected(reading)
    if over_mono is not None and now - over_mono >= limits.STARVED_S:
        deep = reading.available_bytes < reading.reserve_bytes * _DEEP
        found.append(Need(NODE, float("inf"), -free, over_mono, deep, "the node's reserve is being eaten"))
    for seen in reading.agents:
        since = held[seen.name].starved_mono
        if since is None or now - since < limits.STARVED_S:
            continue
        patient_s = limits.STARVED_MAX_S if kernel_holds(reading, seen) else limits.PAUSE_MAX_S / 2
        stuck = held[seen.name].stuck_mono
        own = now - stuck >= patient_s and seen.name not in important  # nothing holds the important
        last = own and now - stuck >= limits.STARVED_LAST_S
        short = missing(held[seen.name], leases[seen.name], bounds)
        found.append(Need(seen.name, seen.priority, short, stuck, own, "it needs more than there is", last=last))
    want = reading.want
    if want is not None and want_mono is not None and now - want_mono >= limits.START_NEED_PATIENCE_S:
        lacks = want.need_bytes - max(0, free)
        if 0 < lacks <= gives_way(reading, want.priority):
            reason = "its start needs the room"
            found.append(Need(want.name, want.priority, lacks, want.since_mono, False, reason, start=True))
    return sorted(found, key=lambda need: (-need.priority, need.name))


def highest(reading: Reading) -> int:
    """The largest priority that has memory."""
    return max((seen.priority for seen in reading.agents if seen.phase is not Phase.SHED), default=0)


def gives_way(reading: Reading, priority: int) -> int:
    """What all less important agents together hold: shedding them for a start that cannot fit would be in vain."""
    return sum(one.usage_bytes for one in reading.agents if one.priority < priority and one.may_shed)


def could_have(reading: Reading, free: int, priority: int) -> int:
    """Bytes that a start of this priority could have, if all less important agents went. `free`: of the budget."""
    return max(0, free) + gives_way(reading, priority)


def left_s(reading: Reading, need: Need, held: Mapping[str, Held], leases: Mapping[str, Lease], now: float) -> float:
    """How long the victim may still take, in seconds: until the node is exhausted, or the needer waited too long."""
    if need.name == NODE:
        return 0.0 if reading.available_bytes < reading.reserve_bytes // 2 else limits.SHED_GRACE_S
    slack = rate = 0.0
    by_name = {seen.name: seen for seen in reading.agents}
    for name, lease in leases.items():
        if held[name].step in (Step.PAUSED, Step.KILLING):
            continue
        if lease.ceiling_bytes is not None:
            slack += lease.ceiling_bytes - lease.usage_bytes
        elif by_name[name].phase in ALIVE:
            rate += max(0.0, held[name].rate_bytes_s)
    room = max(0.0, reading.available_bytes - slack)
    node_s = room / rate if rate > 0 else float("inf")
    own = leases.get(need.name)
    waits = own is not None and (own.ceiling_bytes is not None or not kernel_holds(reading, by_name[need.name]))
    own_s = limits.STARVED_MAX_S - (now - need.since_mono) if waits else float("inf")
    return max(0.0, min(node_s, own_s))
