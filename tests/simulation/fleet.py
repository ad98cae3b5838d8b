"""A fleet after a boot: who gets a start slot when. Checks healing/slots.py under random fleets and machines.

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

from holdfast.healing.slots import Starting, Waiting, light, weight
from holdfast.limits import SLOT_HELD_MAX_S
from tests.simulation.checker import Violation

LOOK_S = 30.0


def boot(seed: str, grant: Callable[..., Any]) -> int:
    """One fleet from all queued to all started. Returns how many grants were asked for; raises Violation."""
    random = Random(seed + "fleet")
    cores = random.choice((1, 1, 2, 2, 4, 8, 64))
    waiting = {w.name: w for w in fleet(random)}
    starting: dict[str, Starting] = {}
    ends: list[tuple[float, str]] = []
    now, asked = 0.0, 0
    while waiting:
        asked += 1
        names = grant(list(waiting.values()), list(starting.values()), cores, now)
        check(names, waiting, starting, cores, now)
        for name in names:
            one = waiting.pop(name)
            starting[name] = Starting(name=name, start_cpu_s=one.start_cpu_s, since_mono=now)
            takes = random.random() * 60 if random.random() < 0.97 else 1e9
            heapq.heappush(ends, (now + takes, name))
        if asked > 10_000:
            raise Violation("slots_all", f"{len(waiting)} still wait after {now:.0f} s ({seed})")
        now = min(ends[0][0], now + LOOK_S) if ends else now + LOOK_S
        while ends and ends[0][0] <= now:
            starting.pop(heapq.heappop(ends)[1], None)
    return asked


def fleet(random: Random) -> list[Waiting]:
    costs = (0.1, 0.5, 3.0, 10.0, 20.0, 500.0, None)
    return [
        Waiting(name=f"a{i:03}", priority=random.choice((10, 50, 50, 100)), start_cpu_s=random.choice(costs))
        for i in range(random.randint(1, 40))
    ]


def check(names: Any, waiting: dict[str, Waiting], starting: dict[str, Starting], cores: int, now: float) -> None:
    held = [s for s in starting.values() if now - s.since_mono < SLOT_HELD_MAX_S]
    taken = sum(weight(s.start_cpu_s, cores) for s in held)
    granted = [waiting[name] for name in names]
    taken += sum(weight(w.start_cpu_s, cores) for w in granted)
    heavy = [w for w in granted if not light(w.start_cpu_s)]
    if taken > cores + 1e-6 and heavy:
        raise Violation("slots_capacity", f"{taken:.1f} slots of {cores}")
    left = [w for w in waiting.values() if w.name not in names]
    if any(light(w.start_cpu_s) for w in left):
        raise Violation("slots_light", "a light agent waits")
    if heavy and left:
        last, first = max(rank(w) for w in heavy), min(rank(w) for w in left)
        if last > first:
            raise Violation("slots_order", f"{last} before {first}")
    if left and not held and not granted:
        raise Violation("slots_all", "nobody starts on an idle machine")


def rank(one: Waiting) -> tuple[int, str]:
    return (-one.priority, one.name)
