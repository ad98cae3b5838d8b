"""When a shed agent comes back: there is room for it, there was room for a while, and the more important come first.

Invariant: whoever is shed again and again waits longer each time, and never longer than BACK_MAX_S once there is room,
so nobody flaps and nobody stays away for ever. Pure. Called by semaphore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from holdfast import limits
from holdfast.density import needs
from holdfast.density.admission import PASS_AFTER_S
from holdfast.density.leases import ALIVE, order
from holdfast.density.model import ComeBack, Held, Phase, Reading


class Returning(NamedTuple):
    room_mono: dict[str, float]
    actions: tuple[ComeBack, ...]


def wait_s(sheds_mono: tuple[float, ...], now: float) -> float:
    """How long there must have been room before an agent that was shed at these times comes back."""
    recent = sum(1 for at in sheds_mono if now - at < limits.BACK_FORGET_S)
    return float(min(limits.BACK_MAX_S, limits.BACK_FIRST_S * 2.0 ** max(0, min(recent, 20) - 1)))


def room_for(need_bytes: int, budget_bytes: int) -> int:
    """Bytes that must be free for one that was shed: its start, and something beside it."""
    return need_bytes + int(budget_bytes * limits.BACK_SPARE_SHARE)


def look(
    reading: Reading, held: Mapping[str, Held], room_mono: Mapping[str, float], budget: int, free: int, now: float
) -> Returning:
    """Who may queue for a start again. `free`: of the budget; a start that is kept out takes its need off it, but not
    from who is more important. Who came in below one that is shed, once there was no room for it, gives it way again.
    """
    left, want = free, reading.want
    alone = not any(seen.phase in ALIVE for seen in reading.agents) and reading.want is None
    since: dict[str, float] = {}
    actions: list[ComeBack] = []
    for seen in sorted((one for one in reading.agents if one.phase is Phase.SHED), key=order):
        if want is not None and want.priority >= seen.priority:
            # As in the queue of starts: what is kept out for long waits for no room that the shed could have.
            passed = want.need_bytes > free and now - want.since_mono >= PASS_AFTER_S
            left, want = left - (0 if passed else want.need_bytes), None
        need = seen.start_bytes if alone else room_for(seen.start_bytes, budget)
        if need > left + needs.gives_way(reading, seen.priority):
            continue
        since[seen.name] = room_mono.get(seen.name, now)
        sheds = held[seen.name].sheds_mono if seen.name in held else ()
        left -= seen.start_bytes  # kept for it while it waits, so that nobody less important takes it
        alone = False
        if now - since[seen.name] >= wait_s(sheds, now):
            actions.append(ComeBack(agent=seen.name))
    return Returning(since, tuple(actions))
