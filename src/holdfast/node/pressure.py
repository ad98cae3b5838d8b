"""Is the host starved? Pressure readings to one word, so that a loaded machine is not taken for hung agents.

Starved means: a task that wants to run mostly waits. The rule is pure and has a memory (hysteresis): yes at once
when a level is passed and no only after things stayed calm for a while. PSI is read as stall time since the last
reading, which is quicker than its averages. For the CPU it is not enough: three busy tasks on two cores already stall
all the time, yet nobody starves; so the queue of runnable tasks must be long as well (alone where the kernel has no
PSI). Else one agent in a busy loop would excuse every hung one. Called by the keeper's health loop once a second.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from holdfast import limits


class Reading(NamedTuple):
    """Cumulative stall times in microseconds (None: the kernel has no PSI) and the tasks that want to run."""

    mono: float
    cpu_some_us: int | None
    memory_full_us: int | None
    io_full_us: int | None
    runnable_per_core: float


class Pressure(NamedTuple):
    """What is known. `why` is one clause while starved."""

    starved: bool = False
    why: str = ""
    calm_since_mono: float | None = None
    last: Reading | None = None
    queue: float = 0.0  # runnable tasks per core, smoothed over about two readings
    short_of: tuple[str, ...] = ()  # while starved: which of cpu, memory and io


def judge(before: Pressure, now: Reading) -> Pressure:
    """The next state. Readings closer than PRESSURE_STEP_S change nothing."""
    last = before.last
    if last is None:
        return before._replace(last=now)
    elapsed = now.mono - last.mono
    if elapsed < limits.PRESSURE_STEP_S:
        return before
    queue = (before.queue + now.runnable_per_core) / 2
    share = _shares(last, now, elapsed, queue)
    loud = [
        f"{name} {share[name]:.0%}" for name, enter in limits.PRESSURE_ENTER.items() if share.get(name, 0.0) >= enter
    ]
    if loud:
        short_of = tuple(one.partition(" ")[0] for one in loud)
        return Pressure(True, "tasks stall: " + ", ".join(loud), None, now, queue, short_of)
    if not before.starved:
        return Pressure(False, "", None, now, queue)
    if any(share.get(name, 0.0) >= leave for name, leave in limits.PRESSURE_LEAVE.items()):
        return Pressure(True, before.why, None, now, queue, before.short_of)
    calm_since = now.mono if before.calm_since_mono is None else before.calm_since_mono
    if now.mono - calm_since >= limits.PRESSURE_CALM_S:
        return Pressure(False, "", None, now, queue)
    return Pressure(True, before.why, calm_since, now, queue, before.short_of)


def _shares(last: Reading, now: Reading, elapsed: float, queue: float) -> dict[str, float]:
    """Share of the time since the last reading in which tasks stalled, by resource."""
    pairs = {
        "cpu": (last.cpu_some_us, now.cpu_some_us),
        "memory": (last.memory_full_us, now.memory_full_us),
        "io": (last.io_full_us, now.io_full_us),
    }
    found = {
        name: min(1.0, max(0, new - old) / 1_000_000 / elapsed)
        for name, (old, new) in pairs.items()
        if old is not None and new is not None
    }
    waiting = max(0.0, 1.0 - 1.0 / queue) if queue > 0 else 0.0  # share of its time a task of that queue waits
    found["cpu"] = min(found.get("cpu", 1.0), waiting)
    return found


def read(mono: float) -> Reading:
    """The host's readings now; `mono`: monotonic seconds."""
    return Reading(
        mono,
        _total_us("cpu", "some"),
        _total_us("memory", "full"),
        _total_us("io", "full"),
        _runnable() / (os.cpu_count() or 1),
    )


def _runnable() -> int:
    """Tasks that run or wait for a core now, in the whole machine, without the one that asks."""
    try:
        return max(0, int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) - 1)
    except (OSError, ValueError, IndexError):
        return 0


def _total_us(resource: str, kind: str) -> int | None:
    try:
        return parse_total_us(Path(f"/proc/pressure/{resource}").read_text(), kind)
    except OSError:  # no PSI in this kernel, or switched off (EOPNOTSUPP)
        return None


def parse_total_us(text: str, kind: str) -> int | None:
    for line in text.splitlines():
        if line.startswith(kind):
            total = line.rpartition("total=")[2]
            return int(total) if total.isdecimal() else None
    return None
