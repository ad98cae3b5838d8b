"""Who takes what the machine is short of: processes summed up by agent, unit or program, and the largest named. Pure.

Invariant: nobody is named for a resource that is not short, nor for less than a quarter of it; everything is known
from two looks a moment apart. Called by keeper.density.neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from holdfast import limits
from holdfast.node.takers import Taker
from holdfast.sizes import size

_CONTAINER = re.compile(r"(?:docker|containerd|libpod|crio)[-/:]([0-9a-f]{12})[0-9a-f]*")
_PER_SESSION = re.compile(r"^(?:session-|user@|init\.scope|app-)")
OWN = "Holdfast itself"
_KERNEL_PID = 2  # kthreadd, parent of all threads of the kernel


class Who(NamedTuple):
    """`name`: in words; `agent`: its name, "" for others."""

    name: str
    agent: str = ""


class Use(NamedTuple):
    """What one of them takes. `io_bytes_s` 0 where it may not be known."""

    who: Who
    comm: str  # of its largest process
    uid: int
    processes: int
    cores: float
    memory_bytes: int
    io_bytes_s: float


class Neighbour(NamedTuple):
    """`what`: cpu, memory or io. `words`: one clause with numbers."""

    who: Who
    what: str
    words: str


class Known(NamedTuple):
    """How processes are told apart. `places`: last two parts of a cgroup's path -> agent. `roots`: pid -> agent.

    `own_pids`: Holdfast's own processes; `own_place`: the last part of the path of our cgroups, "" without any.
    """

    places: Mapping[tuple[str, str], str]
    roots: Mapping[int, str]
    own_pids: frozenset[int] = frozenset()
    own_place: str = ""


def uses(before: Sequence[Taker], after: Sequence[Taker], elapsed_s: float, known: Known) -> list[Use]:
    """What each took between two looks. A process that began in between counts whole, one that ended not at all."""
    earlier = {(one.pid, one.started): one for one in before}
    parents = {one.pid: one.ppid for one in after}
    summed: dict[Who, list[tuple[Taker, float, float]]] = {}
    for one in after:
        was = earlier.get((one.pid, one.started))
        between_s = one.read_mono - was.read_mono if was is not None else elapsed_s  # a walk may take seconds itself
        cores = (one.cpu_s - (was.cpu_s if was is not None else 0.0)) / max(between_s or elapsed_s, 1e-3)
        io = 0 if one.io_bytes is None or was is None or was.io_bytes is None else one.io_bytes - was.io_bytes
        summed.setdefault(_who(one, parents, known), []).append((one, max(0.0, cores), max(0.0, io)))
    found = []
    for who, parts in summed.items():
        largest = max(parts, key=lambda part: (part[1], part[0].memory_bytes))[0]
        found.append(
            Use(
                who=who,
                comm=largest.comm,
                uid=largest.uid,
                processes=len(parts),
                cores=sum(cores for _, cores, _ in parts),
                memory_bytes=sum(one.memory_bytes for one, _, _ in parts),
                io_bytes_s=sum(io for _, _, io in parts) / max(elapsed_s, 1e-3),
            )
        )
    return found


def named(
    found: Sequence[Use], short_of: Sequence[str], cores: float, node_bytes: int, outside_bytes: int | None = None
) -> tuple[Neighbour, ...]:
    """Those who take most of what is short, the largest first, few enough to be read.

    `outside_bytes`: memory that what others hold is a share of, where that is not the node's; 0: it is not theirs.
    """
    told: list[tuple[float, Neighbour]] = []
    io_total = sum(one.io_bytes_s for one in found)
    for one in found:
        memory_bytes = node_bytes if one.who.agent or outside_bytes is None else outside_bytes
        whole = {"cpu": cores, "memory": float(memory_bytes), "io": io_total}
        taken = {"cpu": one.cores, "memory": float(one.memory_bytes), "io": one.io_bytes_s}
        for what in short_of:
            share = taken[what] / whole[what] if whole.get(what) else 0.0
            if what == "io" and one.io_bytes_s < limits.NEIGHBOUR_IO_BYTES_S:
                continue
            if share >= limits.NEIGHBOUR_SHARE:
                words = f"{_called(one)} {_takes(one, what, cores, memory_bytes)}"
                told.append((share, Neighbour(one.who, what, words)))
    told.sort(key=lambda pair: (-pair[0], pair[1].words))
    return tuple(neighbour for _, neighbour in told[: limits.NEIGHBOURS_NAMED])


def _who(one: Taker, parents: Mapping[int, int], known: Known) -> Who:
    for path in one.groups:
        parts = [part for part in path.split("/") if part]
        for place in pairwise(parts):
            if place in known.places:
                return _agent(known.places[place])
    pid, seen = one.pid, 0
    while pid > 1 and seen < limits.NEIGHBOUR_DEPTH_MAX:
        if pid in known.roots:
            return _agent(known.roots[pid])
        pid, seen = parents.get(pid, 0), seen + 1
    if one.pid in known.own_pids or (known.own_place and any(known.own_place in path for path in one.groups)):
        return Who(OWN)
    if _KERNEL_PID in (one.pid, one.ppid):
        return Who("the kernel")
    for path in one.groups:
        container = _CONTAINER.search(path)
        if container:
            return Who(f"container {container[1]}")
    for path in one.groups:
        for part in reversed(path.split("/")):
            if part.endswith((".service", ".scope")) and not _PER_SESSION.match(part):
                return Who(part)
    return Who(f"{one.comm} of user {one.uid}")


def _agent(name: str) -> Who:
    return Who(f"agent {name}", name)


def _called(one: Use) -> str:
    """With its program, where the name does not tell it."""
    if one.who.name.startswith(f"{one.comm} "):
        return one.who.name if one.processes == 1 else f"{one.who.name} ({one.processes} processes)"
    return f"{one.who.name} ({one.comm})"


def _takes(one: Use, what: str, cores: float, whole_bytes: int) -> str:
    match what:
        case "cpu":
            return f"takes {min(one.cores, cores):.1f} of {cores:g} cores"
        case "memory":
            return f"holds {size(one.memory_bytes)} of {size(whole_bytes)}"
    return f"reads and writes {size(one.io_bytes_s)}/s"
