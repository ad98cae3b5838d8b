"""What holds memory leases on this machine, as facts with reasons: memory's part of `holdfast doctor`.

A lease is held by the kernel where agents are in a memory cgroup, and by pausing and ending them on our own readings
where they are not; swap decides whether one that sleeps frozen gives its memory back. Only looks. Called by
node.doctor.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.node.cgroups import CgroupPlan
from holdfast.node.kept_file import number

_MEMINFO = Path("/proc/meminfo")
_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory")
_STRICT = "2"  # every mapping is counted whether it is used or not
_NEXT_ROOT = (
    "Mount the memory controller where it can be written. Where the kernel starts without it (`cat /proc/cgroups`), "
    "add cgroup_enable=memory to the kernel's command line."
)
_NEXT_USER = "Start as root, or where systemd runs: `loginctl enable-linger`, then `holdfast up` again."


def leases(plan: CgroupPlan) -> tuple[bool, str, str, str]:
    """Whether the kernel holds them; by what; what that means; what can be done."""
    if "memory" in plan.v2_controllers:
        return True, "held by cgroup v2: memory.high, and memory.low protects the most important", "", ""
    if "memory" in plan.v1_roots:
        return True, "held by cgroup v1: limits at which who may go for others waits, instead of being killed", "", ""
    why = "no memory cgroup: agents are paused and ended by what Holdfast reads of them, which is slower"
    return False, "by readings alone", why, next_step()


def next_step() -> str:
    """What can be done where a controller is missing."""
    return _NEXT_ROOT if os.geteuid() == 0 else _NEXT_USER


def swap(meminfo: Path = _MEMINFO) -> str:
    """How much there is, and what it means that there is none. OSError: nobody can tell."""
    text = meminfo.read_bytes().replace(b" kB", b"")
    total, free = (number(text, key) or 0 for key in (b"SwapTotal:", b"SwapFree:"))
    if total == 0:
        return "none: agents that sleep frozen keep their memory, `idle: {action: stop}` gives it back"
    return f"{free * 1024 / 1e9:.1f} of {total * 1024 / 1e9:.1f} GB free"


def overcommit(path: Path = _OVERCOMMIT) -> tuple[bool, str, str, str]:
    """As `leases`: with strict accounting the kernel refuses memory long before leases see it being used."""
    mode = path.read_text().strip()
    if mode != _STRICT:
        return True, "memory counts when it is used", "", ""
    why = "vm.overcommit_memory=2: the kernel refuses memory that is asked for, not used; leases count what is used"
    step = "Set vm.overcommit_memory=0, or raise vm.overcommit_ratio: agents may fail to start with memory still free."
    return False, "strict", why, step
