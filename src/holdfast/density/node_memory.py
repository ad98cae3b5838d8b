"""Which memory is the node's: the machine's, that of the memory cgroup Holdfast was started in, or as declared. Pure.

Also what a person must be told when the fleet cannot fit: declared minimums larger than the node, an agent larger than
the node, a node smaller than its reserve. Called by the keeper at start and with each changed specification.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from holdfast import limits, sizes

UNLIMITED = 1 << 60  # v1 says "no limit" with the largest page count, about 2^63


class Group(Struct, frozen=True, kw_only=True):
    """A memory cgroup on the way from Holdfast's own up to the top; `limit_bytes` None: max."""

    path: str
    limit_bytes: int | None


class Node(Struct, frozen=True, kw_only=True):
    """`path`: of the group that is the node; "" for the machine. `budget_bytes`: what agents may use at most."""

    kind: Literal["machine", "group", "declared"]
    bytes: int
    reserve_bytes: int
    path: str
    why: str

    @property
    def budget_bytes(self) -> int:
        return max(0, self.bytes - self.reserve_bytes)


class Declared(Struct, frozen=True, kw_only=True):
    """What one agent declares. `need_bytes`: its start need; `running` replicas included by their own names."""

    name: str
    priority: int
    floor_bytes: int = 0
    need_bytes: int = 0
    limit_bytes: int | None = None


class Problem(Struct, frozen=True, kw_only=True):
    """One sentence for a person, and what can be done."""

    code: Literal["floors", "larger", "small"]
    agents: tuple[str, ...]
    text: str
    next: str


def reserve(node_bytes: int, declared: int | None = None) -> int:
    """max(256 MB, 8 %), at most a quarter of the node; a declared reserve holds as it is, below the node."""
    if declared is not None:
        return max(0, min(declared, node_bytes))
    wished = max(limits.NODE_RESERVE_MIN_BYTES, int(node_bytes * limits.NODE_RESERVE_SHARE))
    return min(wished, int(node_bytes * limits.NODE_RESERVE_MAX_SHARE))


def which(machine_bytes: int, groups: Iterable[Group] = (), memory: int | None = None, kept: int | None = None) -> Node:
    """The tightest of what holds. `memory`, `kept`: `node: {memory, reserve}`; more than there is cannot be had."""
    size, path, why = machine_bytes, "", "the machine's memory"
    kind: Literal["machine", "group", "declared"] = "machine"
    for group in groups:
        if group.limit_bytes is not None and group.limit_bytes < min(size, UNLIMITED):
            size, path, why, kind = group.limit_bytes, group.path, f"the limit of {group.path}", "group"
    if memory is not None and memory > size:
        why = f"declared {sizes.size(memory)}, cut to {sizes.size(size)}: {why}"
    elif memory is not None:
        size, why, kind = memory, "as declared", "declared"
    return Node(kind=kind, bytes=size, reserve_bytes=reserve(size, kept), path=path, why=why)


def check(node: Node, fleet: Iterable[Declared]) -> tuple[Problem, ...]:
    """What cannot work on this node, the most important first. Nothing is refused: everything that fits still runs."""
    agents = sorted(fleet, key=lambda one: (-one.priority, one.name))
    problems: list[Problem] = []
    budget = node.budget_bytes
    if budget < 2 * limits.SLACK_MIN_BYTES:
        text = f"the node has {sizes.size(node.bytes)}, {sizes.size(node.reserve_bytes)} of it are kept in reserve"
        problems.append(Problem(code="small", agents=(), text=text, next="give the node more memory"))
    floors = sum(one.floor_bytes for one in agents)
    if floors > budget:
        left, out = budget, []
        for one in agents:
            if one.floor_bytes > left:
                out.append(one.name)
            else:
                left -= one.floor_bytes
        needed, has = sizes.needed_and_left(floors, budget)
        text = f"declared minimums are {needed} together, the node has {has} for agents"
        problems.append(Problem(code="floors", agents=tuple(out), text=text, next="lower minimums, or move agents"))
    for one in agents:
        need = max(one.floor_bytes, one.need_bytes)
        if need > budget:
            needed, has = sizes.needed_and_left(need, budget)
            text = f"{one.name} needs {needed}, the whole node has {has} for agents"
            problems.append(Problem(code="larger", agents=(one.name,), text=text, next="a larger node, or a limit"))
    return tuple(problems)
