"""Runs episodes from one seed, in several processes, and shrinks what fails to the fewest faults that still fail."""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections import Counter
from typing import NamedTuple

from tests.simulation import aside_bugs
from tests.simulation.bugs import Doors, plant
from tests.simulation.checker import Violation
from tests.simulation.faults import Fault, Plan, draw
from tests.simulation.fleet import boot
from tests.simulation.world import World

FLEET_EVERY = 20  # one boot of a fleet for so many episodes
CHUNK = 200
assert aside_bugs  # imported to plant its bugs too


class Failure(NamedTuple):
    seed: str
    invariant: str
    text: str


class Tally(NamedTuple):
    faults: int
    observations: int
    episodes: int
    boots: int
    transitions: Counter[tuple[str, str]]
    failure: Failure | None


def episode(plan: Plan, doors: Doors, trace: list[str] | None = None) -> World:
    """One episode; raises Violation."""
    world = World(plan, doors.decide, doors.permit, trace)
    world.episode()
    return world


def chunk(seed: str, first: int, doors: Doors, count: int = CHUNK) -> Tally:
    """Some episodes; stops at the first failure."""
    faults = observations = boots = 0
    transitions: Counter[tuple[str, str]] = Counter()
    for index in range(first, first + count):
        name = f"{seed}:{index}"
        plan = draw(name)
        try:
            world = episode(plan, doors)
            if index % FLEET_EVERY == 0:
                observations += boot(name, doors.admit)
                boots += 1
        except Violation as error:
            done = index - first + 1
            return Tally(faults, observations, done, boots, transitions, Failure(name, error.invariant, str(error)))
        faults += len(plan.faults)
        observations += world.events
        for (old, new), times in world.check.transitions.items():
            transitions[old.value, new.value] += times
    return Tally(faults, observations, count, boots, transitions, None)


def _prepare() -> None:
    """Worlds are cyclic and short-lived: collect them seldom."""
    gc.set_threshold(200_000, 20, 20)


def _work(job: tuple[str, int, str]) -> Tally:
    seed, first, bug = job
    return chunk(seed, first, plant(bug) if bug else Doors())


def campaign(seed: str, events: int, workers: int, bug: str = "") -> tuple[Tally, float]:
    """Until `events` faults were injected or something failed. Returns the sums and the seconds it took."""
    began = time.monotonic()
    total = Tally(0, 0, 0, 0, Counter(), None)
    jobs = ((seed, first, bug) for first in range(0, 1 << 40, CHUNK))
    if workers <= 1:
        for job in jobs:
            total = add(total, _work(job))
            if total.failure or total.faults >= events:
                break
        return total, time.monotonic() - began
    with multiprocessing.get_context("fork").Pool(workers, _prepare) as pool:
        # Handed out in rounds, so that the same seed and number of events is the same campaign.
        while total.failure is None and total.faults < events:
            for tally in pool.imap(_work, [next(jobs) for _ in range(workers * 8)]):
                if total.failure is None:
                    total = add(total, tally)
    return total, time.monotonic() - began


def add(one: Tally, two: Tally) -> Tally:
    one.transitions.update(two.transitions)
    return Tally(
        one.faults + two.faults,
        one.observations + two.observations,
        one.episodes + two.episodes,
        one.boots + two.boots,
        one.transitions,
        one.failure or two.failure,
    )


def shrink(failure: Failure, doors: Doors) -> tuple[Plan, list[str]]:
    """The fewest faults of the episode that still break the same invariant, and the trace of that."""
    plan = draw(failure.seed)
    if failure.invariant.startswith("slots_"):
        return plan._replace(faults=()), [failure.text]
    faults = list(plan.faults)
    size = max(1, len(faults) // 2)
    while size:
        at = 0
        while at < len(faults):
            fewer = faults[:at] + faults[at + size :]
            if breaks(plan._replace(faults=tuple(fewer)), doors, failure.invariant):
                faults = fewer
            else:
                at += size
        size //= 2
    least = plan._replace(faults=tuple(faults))
    trace: list[str] = []
    try:
        episode(least, doors, trace)
    except Violation as error:
        trace.append(f"VIOLATED {error}")
    return least, trace


def breaks(plan: Plan, doors: Doors, invariant: str) -> bool:
    try:
        episode(plan, doors)
    except Violation as error:
        return error.invariant == invariant
    return False


def describe(fault: Fault) -> str:
    return f"{fault.at_s:.3f} s {fault.kind} ({fault.x:.3f} {fault.y:.3f} {fault.z:.3f})"
