"""Which memory is the node's and how much of it is left: found out from the cgroups we and the agents are in.

The agents' group may lie elsewhere than ours (as root in v2 it hangs at the top of the hierarchy): then a limit of ours
is taken as if it were declared, and counted by what the agents use. Invariant: nothing here raises. Called by the
semaphore's loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from holdfast.density import node_memory
from holdfast.density.node_memory import Declared, Group, Node, Problem
from holdfast.node import cgroups
from holdfast.node.cgroups import CgroupPlan, Mount, View
from holdfast.node.kept_file import KeptFile
from holdfast.node.memory import NodeMemory, NodeReading
from holdfast.spec.model import Node as Wanted

LOOK_EVERY_S = 10.0  # a limit that somebody changes while we run is known within this
_LIMITS = ("memory.max", "memory.limit_in_bytes")


class NodeRoom:
    """See the module. `view`: what this machine's cgroups look like, for tests."""

    def __init__(self, plan: CgroupPlan, view: View | None = None) -> None:
        found = view or cgroups.look()
        roots = [plan.v2_root] if "memory" in plan.v2_controllers else []
        roots += [plan.v1_roots[each] for each in ("memory",) if each in plan.v1_roots]
        self._holding = [each for root in roots if root is not None for each in _upwards(root.parent, found)]
        own = [each for start in _own(found) for each in _upwards(start, found)]
        if not roots:
            self._holding = own  # nobody is in a memory cgroup of ours: agents are where we are
        self._groups = list(dict.fromkeys([*self._holding, *own]))
        self._machine = NodeMemory()
        self._memory = self._machine
        self._group = ""
        self._pressure = KeptFile("/proc/pressure/memory")
        self._wanted: Wanted | None = None
        self._looked_mono = float("-inf")
        self.node: Node | None = None
        self.problems: tuple[Problem, ...] = ()

    def look(self, wanted: Wanted, fleet: Callable[[], Iterable[Declared]], now: float) -> None:
        """Find the node again when that may have changed; cheap otherwise."""
        if wanted is self._wanted and now - self._looked_mono < LOOK_EVERY_S:
            return
        machine = self._machine.read()
        if machine is None:
            return
        self._wanted, self._looked_mono = wanted, now
        told = [Group(path=str(each), limit_bytes=_limit(each)) for each in self._groups]
        self.node = node_memory.which(machine.total_bytes, told, wanted.memory_bytes, wanted.reserve_bytes)
        self._attach(self._counting(told))
        self.problems = node_memory.check(self.node, fleet())

    def forget(self) -> None:
        """The next look finds the node anew, and what cannot work on it."""
        self._wanted = None

    def _counting(self, told: Sequence[Group]) -> str:
        """The tightest group that agents are counted in, whatever was declared; "" when none has a limit."""
        holding = {str(each) for each in self._holding}
        limited = [
            (each.limit_bytes, each.path) for each in told if each.path in holding and each.limit_bytes is not None
        ]
        return min(limited)[1] if limited else ""

    def _attach(self, group: str) -> None:
        if group == self._group:
            return
        if self._memory is not self._machine:
            self._memory.close()
        self._group = group
        self._memory = NodeMemory(Path(group)) if group else self._machine
        own = Path(group or "/nowhere") / "memory.pressure"
        self._pressure.close()
        self._pressure = KeptFile(own if own.exists() else "/proc/pressure/memory")

    def read(self) -> NodeReading | None:
        """What the machine, or the group agents are in, could still give. Not yet cut to the declared size."""
        return self._memory.read()

    def pressure(self) -> float:
        """Share of the last ten seconds in which something waited for memory; 0 where nobody counts."""
        return parse_pressure(self._pressure.read() or b"")

    def close(self) -> None:
        if self._memory is not self._machine:
            self._memory.close()
        self._machine.close()
        self._pressure.close()


def left(available_bytes: int, node: Node, used_bytes: int) -> int:
    """What the node could still give, in bytes. A declared size, which no kernel holds, is held by what agents use."""
    return max(0, min(available_bytes, node.bytes - used_bytes))


def parse_pressure(text: bytes) -> float:
    """The ten seconds' average of `some` in a PSI file, as a share. Pure."""
    _, _, rest = text.partition(b"some avg10=")
    word = rest.split(b" ", 1)[0]
    try:
        return float(word) / 100
    except ValueError:
        return 0.0


def _own(view: View) -> Iterator[Path]:
    """Our own memory cgroups' directories."""
    mount = next((each for each in view.v1 if "memory" in each.controllers), None)
    if mount is not None:
        yield from _placed(mount, view.own_v1.get("memory", "/"))
    elif view.v2 is not None and view.own_v2 is not None:
        yield from _placed(view.v2, view.own_v2)


def _placed(mount: Mount, path: str) -> Iterator[Path]:
    found = cgroups.place(mount, path)
    if found is not None:
        yield found


def _upwards(directory: Path, view: View) -> list[Path]:
    """The directory and all above it, to the top of its hierarchy. [] when it is in none."""
    tops = [each.point for each in (*view.v1, *([view.v2] if view.v2 else []))]
    top = next((each for each in tops if directory == each or each in directory.parents), None)
    if top is None:
        return []
    chain = [directory, *directory.parents]
    return chain[: chain.index(top) + 1]


def _limit(directory: Path) -> int | None:
    for name in _LIMITS:
        path = directory / name
        if os.path.exists(path):
            file = KeptFile(path)
            value = file.read_int()
            file.close()
            return None if value is None or value >= node_memory.UNLIMITED else value
    return None
