"""Which of an agent's limits can be held here, and by what. Pure: from limits and plan to files and values to write.

Cgroups hold memory, cpus and pids for the whole tree; without them only RLIMIT_DATA is left for memory (each process
for itself), and cpus and pids are not held, which is said and not hidden. nofile is an rlimit everywhere.
Called by pods.pod; doctor asks it for what this machine can hold in general.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from holdfast import limits
from holdfast.node.cgroups import CgroupPlan
from holdfast.pods.model import Limit
from holdfast.spec.model import Limits

_CPU_PERIOD_US = 100_000  # the kernel's default
_CPU_QUOTA_LEAST_US = 1_000  # the kernel's least
_SHARES_PER_WEIGHT = 10  # v1's default of 1024 shares is v2's of 100


class Setting(NamedTuple):
    """One value to write into a file of the pod's cgroup. `must`: without it the limit does not hold."""

    controller: str
    limit: str
    file: str
    value: str
    must: bool = True


class Holding(NamedTuple):
    """`settings` are for the v2 directory when `controller` is one of the plan's v2 controllers, else for v1."""

    settings: tuple[Setting, ...]
    data_bytes: int | None
    nofile: int | None
    limits: tuple[Limit, ...]


def hold(wanted: Limits, plan: CgroupPlan, nofile_most: int) -> Holding:
    """`nofile_most`: the largest number of open files that may be granted here."""
    settings: list[Setting] = []
    told: list[Limit] = []
    data_bytes = None
    for name, value, controller, v2, v1 in (
        ("memory", wanted.memory_bytes, "memory", _memory_v2, _memory_v1),
        ("cpus", wanted.cpus, "cpu", _cpus_v2, _cpus_v1),
        ("pids", wanted.pids, "pids", _pids, _pids),
    ):
        if value is None:
            continue
        made = _settings(plan, controller, v2, v1, value)
        if made:
            settings.extend(made)
            told.append(Limit(name=name, value=value, held=True, by=f"cgroup {made[-1].file}"))
        elif name == "memory":
            data_bytes = int(value)
            why = "no memory cgroup: each process is held to it by itself, not the whole tree"
            told.append(Limit(name=name, value=value, held=False, by="RLIMIT_DATA", why=why))
        else:
            told.append(Limit(name=name, value=value, held=False, why=f"no {controller} cgroup for this user"))
    nofile = None
    if wanted.nofile is not None:
        nofile = min(wanted.nofile, nofile_most)
        cut = nofile < wanted.nofile
        why = f"the highest that may be granted here is {nofile_most}" if cut else ""
        told.append(Limit(name="nofile", value=wanted.nofile, held=not cut, by="RLIMIT_NOFILE", why=why))
    return Holding(tuple(settings), data_bytes, nofile, tuple(told))


def possible(plan: CgroupPlan) -> dict[str, str]:
    """Limit -> what would hold it here; "" when nothing would."""
    held = hold(Limits(memory_bytes=1 << 30, cpus=1.0, pids=100), plan, 1 << 20)
    return {each.name: each.by if each.held else "" for each in held.limits} | {"nofile": "RLIMIT_NOFILE"}


def standing(plan: CgroupPlan, priority: int) -> tuple[Setting, ...]:
    """What every agent gets, whatever it declares: a memory group of its own, and CPU by priority where it is short.

    They come behind the limits of `hold`: on v1 a limit must have its room before the kernel may kill at it again.
    """
    weight = cpu_weight(priority)
    made: list[Setting] = []
    if "memory" in plan.v2_controllers:  # the whole pod dies, never a limb of it
        made.append(Setting("memory", "group", "memory.oom.group", "1", must=False))
    elif "memory" in plan.v1_roots:
        made.append(Setting("memory", "group", "memory.oom_control", "0", must=False))
    if "cpu" in plan.v2_controllers:
        made.append(Setting("cpu", "weight", "cpu.weight", str(weight), must=False))
    elif "cpu" in plan.v1_roots:
        made.append(Setting("cpu", "weight", "cpu.shares", str(weight * _SHARES_PER_WEIGHT), must=False))
    return tuple(made)


def cpu_weight(priority: int) -> int:
    """v2 cpu.weight (1 to 10,000, the kernel's default is 100); v1's shares are ten times as many."""
    wished = 100.0 * math.pow(limits.CPU_WEIGHT_STEP, (priority - limits.PRIORITY_DEFAULT) / 50)
    return round(min(limits.CPU_WEIGHT_MOST, max(limits.CPU_WEIGHT_LEAST, wished)))


_Maker = Callable[[float], list[Setting]]


def _settings(plan: CgroupPlan, controller: str, v2: _Maker, v1: _Maker, value: float) -> list[Setting]:
    if controller in plan.v2_controllers:
        return v2(value)
    return v1(value) if controller in plan.v1_roots else []


def _memory_v2(value: float) -> list[Setting]:
    return [Setting("memory", "memory", "memory.max", str(int(value)))]


def _memory_v1(value: float) -> list[Setting]:
    return [Setting("memory", "memory", "memory.limit_in_bytes", str(int(value)))]


def _cpus_v2(value: float) -> list[Setting]:
    return [Setting("cpu", "cpus", "cpu.max", f"{_quota_us(value)} {_CPU_PERIOD_US}")]


def _cpus_v1(value: float) -> list[Setting]:
    return [
        Setting("cpu", "cpus", "cpu.cfs_period_us", str(_CPU_PERIOD_US)),
        Setting("cpu", "cpus", "cpu.cfs_quota_us", str(_quota_us(value))),
    ]


def _quota_us(cpus: float) -> int:
    return max(_CPU_QUOTA_LEAST_US, round(cpus * _CPU_PERIOD_US))


def _pids(value: float) -> list[Setting]:
    return [Setting("pids", "pids", "pids.max", str(int(value)))]
