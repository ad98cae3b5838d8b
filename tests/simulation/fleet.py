"""A fleet after a boot: who gets a start slot when. Checks the queue of starts under random fleets and machines.

Memory is plenty here; the density campaign is about it.
slots_capacity  heavy starts under way never take more slots than there are cores (one start alone may)
slots_order     whoever is granted a slot has no more important agent waiting behind, light ones excepted
slots_light     light agents start at once
slots_all       everybody starts in the end, also behind a start that hangs
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

from holdfast.density.admission import Starting, Waiting, place_in_line
from holdfast.healing.slots import weight
from holdfast.limits import SLOT_HELD_MAX_S
from tests.simulation.checker import Violation

LOOK_S = 30.0
NEED_BYTES = 1
ROOM_BYTES = 1 << 40


def boot(seed: str, admit: Callable[..., Any]) -> int:
    """One fleet from all queued to all started. Returns how often the queue was asked; raises Violation."""
    random = Random(seed + "fleet")
    cores = random.choice((1, 1, 2, 2, 4, 8, 64))
    waiting = {one.name: one for one in fleet(random, cores)}
    starting: dict[str, Starting] = {}
    ends: list[tuple[float, str]] = []
    now, asked = 0.0, 0
    while waiting:
        asked += 1
        names = admit(list(waiting.values()), list(starting.values()), ROOM_BYTES, ROOM_BYTES, cores, "", now).names
        check(names, waiting, starting, cores, now)
        for name in names:
            starting[name] = Starting(name=name, slots=waiting.pop(name).slots, since_mono=now)
            takes = random.random() * 60 if random.random() < 0.97 else 1e9
            heapq.heappush(ends, (now + takes, name))
        if asked > 10_000:
            raise Violation("slots_all", f"{len(waiting)} still wait after {now:.0f} s ({seed})")
        now = min(ends[0][0], now + LOOK_S) if ends else now + LOOK_S
        while ends and ends[0][0] <= now:
            starting.pop(heapq.heappop(ends)[1], None)
    return asked


def fleet(random: Random, cores: int) -> list[Waiting]:
    costs = (0.1, 0.5, 3.0, 10.0, 20.0, 500.0, None)
    return [
        Waiting(
            name=f"a{i:03}",
            priority=random.choice((10, 50, 50, 100)),
            since_mono=0.0,
            slots=weight(random.choice(costs), cores),
            need_bytes=NEED_BYTES,
        )
        for i in range(random.randint(1, 40))
    ]


def check(names: Any, waiting: dict[str, Waiting], starting: dict[str, Starting], cores: int, now: float) -> None:
    held = [one for one in starting.values() if now - one.since_mono < SLOT_HELD_MAX_S]
    granted = [waiting[name] for name in names]
    taken = sum(one.slots for one in held) + sum(one.slots for one in granted)
    heavy = [one for one in granted if one.slots > 0]
    if taken > cores + 1e-6 and heavy:
        raise Violation("slots_capacity", f"{taken:.1f} slots of {cores}")
    left = [one for one in waiting.values() if one.name not in names]
    if any(one.slots == 0 for one in left):
        raise Violation("slots_light", "a light agent waits")
    if heavy and left:
        last, first = max(map(place_in_line, heavy)), min(map(place_in_line, left))
        if last > first:
            raise Violation("slots_order", f"{last} before {first}")
    if left and not held and not granted:
        raise Violation("slots_all", "nobody starts on an idle machine")
