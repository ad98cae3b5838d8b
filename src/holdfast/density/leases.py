"""Leases: how much memory each agent may use now, so that all of them together never use more than there is.

Invariant: the sum of what is used and of all slack is at most the budget (node less reserve less what others took), or
nobody has any slack. Granted from the highest priority down; of equals nobody has more than the least, or its declared
minimum, while another of them lacks the least, else by name. The important hold no ceiling, also when all who gave way
for them are gone; what they may grow by is kept free for them instead. All ceilings together allow at most BREATH_SHARE
of the reserve beyond the budget: whoever takes little is let breathe out of it, when nothing is left to grant. Pure.
Called by semaphore.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple

from msgspec.structs import replace

from holdfast import limits
from holdfast.density.model import Held, Lease, Phase, Protect, Reading, Seen, SetCeiling, Step

ALIVE = (Phase.STARTING, Phase.RUNNING)
_GROWS = 1 / 12  # of the slack in one reading: less is breathing


class Slack(NamedTuple):
    """The least and the most slack of an agent on this node."""

    least_bytes: int
    most_bytes: int


def kernel_holds(reading: Reading, seen: Seen) -> bool:
    """Whether the kernel holds its lease; of others our own readings are all there is."""
    return reading.ceilings and seen.holdable


def all_held(reading: Reading) -> bool:
    """Whether nobody has to be watched by us alone."""
    return reading.ceilings and all(seen.holdable or seen.phase not in ALIVE for seen in reading.agents)


def slack_bounds(node_bytes: int, reserve_bytes: int, agents: int = 0) -> Slack:
    """16 to 256 MB, less on small nodes. Of very many `agents` the least is less, so that all of it leaves room."""
    room = max(0, node_bytes - reserve_bytes)
    least = min(limits.SLACK_MIN_BYTES, max(limits.SLACK_LEAST_BYTES, int(room * limits.SLACK_NODE_SHARE)))
    most = max(least, min(limits.SLACK_MAX_BYTES, least * 16))
    if agents:
        least = min(least, max(limits.SLACK_LEAST_BYTES, int(room * limits.SLACK_ALL_SHARE) // agents))
    return Slack(least, most)


def budget(reading: Reading) -> int:
    """What all agents together may use. Others' memory and what the node lost since are taken off by themselves."""
    used = sum(max(0, seen.usage_bytes) for seen in reading.agents)
    return min(reading.node_bytes, used + max(0, reading.available_bytes)) - reading.reserve_bytes


def order(seen: Seen) -> tuple[int, str]:
    """Who is served first: the larger priority, then the name."""
    return (-seen.priority, seen.name)


# --- how much slack one agent wants ------------------------------------------------------------------------------
def follow(before: Held | None, seen: Seen, lease: Lease | None, bounds: Slack, now: float) -> Held:
    """What is remembered of an agent after one more look. `lease`: what it was granted before."""
    used = max(0, seen.usage_bytes)
    if before is None or (before.read_mono == 0.0 and before.slack_bytes == 0):
        kept = before or Held(instance=seen.instance)
        return replace(
            kept, usage_bytes=used, read_mono=now, slack_bytes=bounds.least_bytes, hits=seen.hits, rate_bytes_s=0.0
        )
    passed_s = max(0.0, now - before.read_mono)
    growth = used - before.usage_bytes
    hit = seen.hits > before.hits or _outran(seen, lease)
    slack = min(bounds.most_bytes, max(bounds.least_bytes, before.slack_bytes))
    rate = _rate(before.rate_bytes_s, growth, passed_s)
    grows = max(growth, rate * limits.SLACK_DECAY_S) > slack * _GROWS  # two looks in one instant see no growth
    if hit or growth > slack * limits.SLACK_TRIGGER:
        slack = min(bounds.most_bytes, max(2 * slack, growth))
    elif not grows:
        slack = max(bounds.least_bytes, int(slack * limits.SLACK_DECAY ** (passed_s / limits.SLACK_DECAY_S)))
    return replace(
        before,
        usage_bytes=used,
        read_mono=now,
        hits=seen.hits,
        growth_bytes=max(0, growth) if passed_s > 0.0 else before.growth_bytes,
        rate_bytes_s=rate,
        slack_bytes=slack,
        pressing=hit or grows or (before.pressing and _stands(seen, lease, bounds)),
    )


def _rate(before_bytes_s: float, growth: int, passed_s: float) -> float:
    if passed_s <= 0.0:
        return before_bytes_s
    share = 1.0 - math.exp(-passed_s / limits.RATE_MEMORY_S)
    return before_bytes_s + share * (growth / passed_s - before_bytes_s)


def _outran(seen: Seen, lease: Lease | None) -> bool:
    """It uses more than it was granted: where no kernel holds it, or between two kinds of accounts."""
    return lease is not None and lease.slack_bytes > 0 and seen.usage_bytes >= lease.lease_bytes


def _stands(seen: Seen, lease: Lease | None, bounds: Slack) -> bool:
    """It pressed before, and stands where it was held: the kernel's word may come only every two seconds."""
    if seen.frozen:
        return True
    if seen.ceiling_bytes is not None:
        return seen.usage_bytes >= seen.ceiling_bytes - bounds.least_bytes // 8
    return lease is not None and seen.usage_bytes >= lease.lease_bytes - bounds.least_bytes // 8


# --- who gets what -----------------------------------------------------------------------------------------------
def protected(reading: Reading) -> frozenset[str]:
    """The important: the highest priority that has memory (or from `protect_from` on), if anybody lower may give way,
    did so, or waits for its start. Else they would come to stand at ceilings when all others went for them, and in v1
    calls of the kernel fail there: Node ends itself. Are they alone too much, the node's end decides (needs.due)."""
    there = [seen for seen in reading.agents if seen.phase is not Phase.SHED]
    levels = {seen.priority for seen in there if seen.may_shed}
    if not levels:
        return frozenset(seen.name for seen in there)
    highest = max(levels)
    all_levels = [seen.priority for seen in reading.agents if seen.may_shed]
    lowest = min(all_levels if reading.lowest is None else [*all_levels, reading.lowest])
    least = highest if reading.protect_from is None else reading.protect_from
    return frozenset(
        seen.name for seen in there if not seen.may_shed or (seen.priority >= least and seen.priority > lowest)
    )


def wanted(seen: Seen, held: Held, bounds: Slack) -> int:
    """Slack it should have: for its next moments, its start, its declared minimum; never beyond its declared limit."""
    if seen.phase is Phase.LEAVING and held.step not in (Step.NONE, Step.KILLING):
        return bounds.least_bytes
    if not _works(seen) or (held.step is not Step.NONE and not held.braked):
        return 0
    want = held.slack_bytes
    if seen.phase is Phase.STARTING and seen.start_bytes > held.usage_bytes:
        want = max(bounds.least_bytes, seen.start_bytes - held.usage_bytes)  # its growth was foreseen
    want = max(want, seen.floor_bytes - held.usage_bytes)
    if seen.limit_bytes is not None:
        want = min(want, seen.limit_bytes - held.usage_bytes)
    return max(0, want)


class Granted(NamedTuple):
    """`free_bytes`: of the budget, after all usage and slack; negative: more is used than there is."""

    leases: dict[str, Lease]
    budget_bytes: int
    free_bytes: int


def grant(reading: Reading, held: Mapping[str, Held], bounds: Slack) -> Granted:
    """A lease for each agent that has memory."""
    total = budget(reading)
    there = sorted((seen for seen in reading.agents if seen.phase is not Phase.SHED), key=order)
    left = total - sum(held[seen.name].usage_bytes for seen in there)
    important = protected(reading)
    wants = {seen.name: wanted(seen, held[seen.name], bounds) for seen in there}
    slacks = _slacks(there, held, wants, bounds.least_bytes, max(0, left))
    left -= sum(slacks.values())
    lent_to = [seen.name for seen in there if _borrows(seen, held[seen.name], important)]
    lent = int(max(0, left) * limits.SLACK_LENT_SHARE) // len(lent_to) if lent_to else 0
    for name in lent_to:
        slacks[name] += lent
    ceiled = [seen for seen in there if kernel_holds(reading, seen) and _holds(seen, important)]
    room = {
        seen.name: min(wants[seen.name], bounds.least_bytes) - slacks[seen.name]
        for seen in ceiled
        if not rushes(seen, held[seen.name], bounds)
    }
    breaths = breath({name: missing for name, missing in room.items() if missing > 0}, reading.reserve_bytes, left)
    tops = {seen.name: held[seen.name].usage_bytes + slacks[seen.name] + breaths.get(seen.name, 0) for seen in ceiled}
    leases = {}
    for seen in there:
        used, slack = held[seen.name].usage_bytes, slacks[seen.name]
        leases[seen.name] = Lease(
            usage_bytes=used,
            slack_bytes=slack,
            wanted_bytes=wants[seen.name],
            ceiling_bytes=tops.get(seen.name),
        )
    return Granted(leases, total, left)


def _slacks(
    there: list[Seen], held: Mapping[str, Held], wants: Mapping[str, int], least: int, left: int
) -> dict[str, int]:
    """Slack of each, of what is left, level by level: what nobody does without first, by name, and comfort with the
    rest. Else the first of equals has room to spare while the last stands at its ceiling. `there`: in order."""
    slacks: dict[str, int] = {}
    for _, level in groupby(there, key=lambda seen: seen.priority):
        equals = list(level)
        for seen in equals:
            needed = max(least, seen.floor_bytes - held[seen.name].usage_bytes)
            slacks[seen.name] = min(wants[seen.name], needed, left)
            left -= slacks[seen.name]
        for seen in equals:
            more = min(wants[seen.name] - slacks[seen.name], left)
            slacks[seen.name] += more
            left -= more
    return slacks


def breath(missing: Mapping[str, int], reserve_bytes: int, left_bytes: int) -> dict[str, int]:
    """Bytes beyond their leases for those who take little: at a ceiling without any, v1 lets their sockets and forks
    fail and v2 puts them to sleep for what somebody else took. `missing`: up to the least slack, of each. Equal shares,
    of what nobody has taken of that part of the reserve. `left_bytes`: of the budget; negative: more is used.
    """
    most = int(reserve_bytes * limits.BREATH_SHARE) + min(0, left_bytes)
    share = max(0, most) // len(missing) if missing else 0
    return {name: min(wished, share) for name, wished in missing.items()}


def rushes(seen: Seen, held: Held, bounds: Slack) -> bool:
    """It takes so fast that it would be through with any breath, or it pressed and is through with it."""
    if held.rate_bytes_s > bounds.least_bytes * limits.BREATH_RATE_S:
        return True
    most = seen.ceiling_bytes
    return held.pressing and most is not None and seen.usage_bytes >= most - bounds.least_bytes // 8


def _borrows(seen: Seen, held: Held, important: frozenset[str]) -> bool:
    return _works(seen) and held.step is Step.NONE and seen.name not in important


def _works(seen: Seen) -> bool:
    """Also while it is stopped as planned: it may finish a piece of work for minutes. At a ceiling just above what it
    holds the kernel would drop the pages of its program and read them again, and it would crawl."""
    return seen.phase in ALIVE or seen.phase is Phase.LEAVING


def _holds(seen: Seen, important: frozenset[str]) -> bool:
    return seen.phase is not Phase.HIBERNATING and seen.name not in important


# --- what has to be written for it -------------------------------------------------------------------------------
def ceilings(reading: Reading, leases: Mapping[str, Lease]) -> list[SetCeiling]:
    """The difference between what holds and what should; lowered first, so that no moment allows more than there is.

    A ceiling in the upper quarter of what the agent may grow by is left alone: one that breathes costs no write.
    """
    lower: list[SetCeiling] = []
    higher: list[SetCeiling] = []
    for seen in sorted(reading.agents, key=order):
        lease = leases.get(seen.name)
        if lease is None or not reading.ceilings:
            continue
        now, most = seen.ceiling_bytes, lease.ceiling_bytes
        if most is None or (seen.limit_bytes is not None and most >= seen.limit_bytes):
            if now is not None:
                higher.append(SetCeiling(agent=seen.name, bytes=None))
            continue
        room = most - lease.usage_bytes
        if now is not None and lease.usage_bytes + room * limits.CEILING_LEAST <= now <= most:
            continue
        aim = lease.usage_bytes + int(room * limits.CEILING_AIM)
        (higher if now is not None and now < aim else lower).append(SetCeiling(agent=seen.name, bytes=aim))
    return lower + higher


def protect(seen: Seen, held: Held, lease: Lease, important: bool) -> tuple[Held, list[Protect]]:
    """What the kernel must not take from it: all of an important agent, the declared minimum of everybody else."""
    keep = lease.lease_bytes if important else seen.floor_bytes
    near = abs(keep - held.protected_bytes) <= held.protected_bytes // 8 and (keep > 0 or held.protected_bytes == 0)
    if near and held.protected_known:
        return held, []
    return replace(held, protected_bytes=keep, protected_known=True), [
        Protect(agent=seen.name, bytes=keep, floor_bytes=seen.floor_bytes)
    ]
