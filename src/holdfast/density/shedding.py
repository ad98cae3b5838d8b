"""Who has to go for a more important need, and by which steps: paused and looked into, stopped or killed, whole.

Invariants: nobody goes while anybody less important, who could go, stays; nobody is paused beyond PAUSE_MAX_S, nor
paused again before it rested; memory that is on its way is waited for, as long as it comes. Pure. Called by semaphore.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from holdfast import limits
from holdfast.density import needs
from holdfast.density.leases import ALIVE
from holdfast.density.model import (
    Action,
    Freeze,
    Held,
    Kill,
    Lease,
    Phase,
    Reading,
    Seen,
    Shed,
    Spared,
    Step,
    Stop,
    TakeEvidence,
    Thaw,
)
from holdfast.density.needs import Need

KILL_AGAIN_S = 1.0
FRESH_S = 0.5  # most trees die within it; who cannot wait longer trusts in nobody who takes longer


# --- who ---------------------------------------------------------------------------------------------------------
def victims(reading: Reading, held: Mapping[str, Held]) -> list[Seen]:
    """Who would go, first to last: the least important; among equals who outgrew its minimum twice as far; the name."""
    able = [
        seen
        for seen in reading.agents
        if seen.may_shed
        and seen.phase in (*ALIVE, Phase.HIBERNATING)
        and (held[seen.name].step is Step.NONE or held[seen.name].braked)
    ]
    return sorted(able, key=lambda seen: (seen.priority, -_outgrown(seen), seen.name))


def _outgrown(seen: Seen) -> int:
    """In doublings, so that the order does not tremble with every page."""
    return max(0, (seen.usage_bytes - seen.floor_bytes) >> 20).bit_length()


def coming(reading: Reading, held: Mapping[str, Held], now: float, fresh: bool = False) -> int:
    """Memory on its way from all who leave: all of it at first, then only what comes soon at the pace it comes.

    `fresh`: only of those who have just begun to leave.
    """
    total = 0
    for seen in reading.agents:
        known = held[seen.name]
        if known.leaving_mono is None:
            continue
        age_s = now - known.leaving_mono
        graceful = known.step is Step.STOPPING and known.deadline_mono is not None and now < known.deadline_mono
        if age_s < FRESH_S or (not fresh and (graceful or age_s < limits.DYING_STALL_S)):
            total += max(0, seen.usage_bytes)
        elif not fresh:
            total += max(0, min(seen.usage_bytes, int(-known.rate_bytes_s * limits.DYING_STALL_S)))
    return total


def eases(reading: Reading, held: Mapping[str, Held], missing: int) -> bool:
    """Whether the node recovers by itself: at their pace those who leave give back in time what is missing, and all
    that the others take. A node that was made smaller is at its end at once, and gains nothing by one more victim."""
    gained = 0.0
    for seen in reading.agents:
        known = held[seen.name]
        gained -= min(0.0, known.rate_bytes_s) if known.leaving_mono is not None else max(0.0, known.rate_bytes_s)
    return gained * limits.STARVED_LAST_S >= max(1, missing)


def in_vain(line: list[Seen], missing: int) -> bool:
    """Whether all who could go hold less together than is missing: then only what is on its way can help."""
    return sum(seen.usage_bytes for seen in line) < missing


def track(seen: Seen, held: Held, now: float) -> Held:
    """Keep since when an agent is on its way out."""
    going = seen.phase is Phase.LEAVING or (held.step is not Step.NONE and not held.braked)
    if not going:
        return held if held.leaving_mono is None else replace(held, leaving_mono=None)
    return replace(held, leaving_mono=now) if held.leaving_mono is None else held


# --- whether -----------------------------------------------------------------------------------------------------
def choose(
    reading: Reading, held: Mapping[str, Held], leases: Mapping[str, Lease], found: list[Need], now: float
) -> tuple[Seen, Need, float] | None:
    """The next victim, for whom, and the seconds left; None when nobody may or has to go, or enough is on its way."""
    line = victims(reading, held)
    if not found or not line:
        return None
    victim = line[0]
    highest = needs.highest(reading)
    trusted = coming(reading, held, now)
    leaving = sum(seen.usage_bytes for seen in reading.agents if held[seen.name].leaving_mono is not None)
    for need in found:
        if not need.calls_for(victim.priority, highest):
            continue
        missing = sum(one.short_bytes for one in found if one.priority > victim.priority or one is need)
        on_its_way = coming(reading, held, now, fresh=True) if need.last else trusted
        if need.name == needs.NODE and (in_vain(line, missing) or eases(reading, held, missing)):
            on_its_way = leaving
        if not _is_coming(need, victim.priority == highest, on_its_way, leaving, missing):
            return victim, need, needs.left_s(reading, need, held, leases, now)
    return None


def _is_coming(need: Need, last_level: bool, trusted: int, leaving: int, missing: int) -> bool:
    """Whether what is on its way is enough to wait for. Who can wait, waits for all of it, however slowly it comes."""
    if need.name == needs.NODE and last_level:
        return leaving > 0
    patient = need.start or (need.name == needs.NODE and not need.own)
    return (leaving if patient else trusted) >= max(1, missing)


# --- how ---------------------------------------------------------------------------------------------------------
def begin(seen: Seen, need: Need, held: Held, lease: Lease, left_s: float, now: float) -> tuple[Held, list[Action]]:
    """The first step of shedding `seen`."""
    record = Shed(
        victim=seen.name,
        needer=need.name,
        victim_priority=seen.priority,
        needer_priority=seen.priority if need.name == needs.NODE else int(need.priority),
        usage_bytes=seen.usage_bytes,
        lease_bytes=lease.lease_bytes,
        rate_bytes_s=int(held.rate_bytes_s),
        short_bytes=need.short_bytes,
        reason=need.reason,
    )
    recent = tuple(at for at in held.sheds_mono if now - at < limits.BACK_FORGET_S)[-19:]
    chosen = replace(
        held,
        step_mono=now,
        victim_of=need.name,
        braked=False,
        starved_mono=None,
        leaving_mono=now,
        sheds_mono=(*recent, now),
    )
    acts: list[Action] = [record]
    if seen.phase is Phase.HIBERNATING:  # it stands still already, for its own reason: it may be spared asleep
        return replace(chosen, step=Step.PAUSED, deadline_mono=now + limits.SHED_EVIDENCE_S), acts
    rested = now >= held.rested_mono and not held.braked
    if left_s < limits.SHED_EVIDENCE_S + limits.SHED_MARGIN_S or not rested:
        if not seen.frozen:
            acts.append(Freeze(agent=seen.name, until_mono=now + limits.PAUSE_MAX_S))
        acts.append(Kill(agent=seen.name))
        return replace(chosen, step=Step.KILLING, deadline_mono=None), acts
    acts.append(Freeze(agent=seen.name, until_mono=now + limits.PAUSE_MAX_S))
    acts.append(TakeEvidence(agent=seen.name, within_s=limits.SHED_EVIDENCE_S))
    until = now + limits.SHED_EVIDENCE_S
    return replace(chosen, step=Step.PAUSED, deadline_mono=until), acts


def go_on(seen: Seen, held: Held, needed: bool, left_s: float, now: float) -> tuple[Held, list[Action]]:
    """The next step of an agent on its way out. `needed`: its needer, or another, still misses memory."""
    over = held.deadline_mono is not None and now >= held.deadline_mono
    if seen.phase is Phase.SHED or held.step is Step.NONE or held.braked:
        return held, []
    if held.step is Step.PAUSED:
        if not needed and seen.phase in (*ALIVE, Phase.HIBERNATING):
            rested = now + limits.PAUSE_REST_S
            spared = replace(
                held,
                step=Step.NONE,
                deadline_mono=None,
                leaving_mono=None,
                victim_of="",
                rested_mono=rested,
                sheds_mono=held.sheds_mono[:-1],
            )
            asleep = seen.phase is Phase.HIBERNATING
            return spared, [*([] if asleep else [Thaw(agent=seen.name)]), Spared(agent=seen.name)]
        if not over and left_s >= limits.SHED_MARGIN_S:
            lost = not seen.frozen and seen.phase in ALIVE
            return held, [Freeze(agent=seen.name, until_mono=held.step_mono + limits.PAUSE_MAX_S)] if lost else []
        grace_s = min(seen.grace_s, limits.SHED_GRACE_S)
        if left_s >= grace_s + limits.SHED_MARGIN_S and seen.phase in (*ALIVE, Phase.HIBERNATING):
            stopping = replace(held, step=Step.STOPPING, step_mono=now, deadline_mono=now + grace_s)
            return stopping, [Stop(agent=seen.name, grace_s=grace_s)]
        return _kill(seen, held, now)
    if held.step is Step.STOPPING and (over or left_s < limits.SHED_MARGIN_S):
        return _kill(seen, held, now)
    if held.step is Step.KILLING and now - held.step_mono >= KILL_AGAIN_S:
        return replace(held, step_mono=now), [Kill(agent=seen.name)]
    return held, []


def _kill(seen: Seen, held: Held, now: float) -> tuple[Held, list[Action]]:
    return replace(held, step=Step.KILLING, step_mono=now, deadline_mono=None), [Kill(agent=seen.name)]
