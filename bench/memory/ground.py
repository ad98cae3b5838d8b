"""The node of a scenario: a memory cgroup with one child for each agent, on v2, on v1, or on v1 with v2 for freezing.

Everything lies below a directory of this run's own, which is removed at the end. Nothing outside of it is written, but
for the controllers that node.cgroups switches on. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast.init import procfs
from holdfast.node import cgroups
from holdfast.node.kept_file import number
from holdfast.node.memory import NodeMemory
from holdfast.pods import groups

MB = 1024 * 1024
SPARE_MB = 1536  # of the machine, beyond the node, or twice a small node: it must not come under pressure itself


class Unfit(Exception):
    """This machine cannot carry the node; the text says why."""


@dataclass(frozen=True, slots=True)
class Ground:
    """`v2`, `freezer`: the agents' directories that freeze them, if any; `memory`: those that hold their memory."""

    kind: str
    node: str
    memory: dict[str, str]
    v2: dict[str, str]
    freezer: dict[str, str]
    roots: list[str]  # of this run, in every hierarchy

    def directories(self, agent: str) -> list[str]:
        """Those a process has to enter."""
        found = [self.memory[agent], self.v2.get(agent, ""), self.freezer.get(agent, "")]
        return list(dict.fromkeys(each for each in found if each))

    def enter(self, agent: str) -> None:
        """Move the calling process."""
        for directory in self.directories(agent):
            with open(f"{directory}/cgroup.procs", "w") as file:
                file.write("0")

    def living(self, agent: str) -> list[int]:
        """Processes of an agent, without zombies, by the numbers of the caller's namespace."""
        try:
            pids = [int(pid) for pid in Path(self.memory[agent], "cgroup.procs").read_text().split()]
        except (OSError, ValueError):
            return []
        return [pid for pid in pids if (found := procfs.read(pid)) is not None and found.state not in "ZX"]

    def kernel_kills(self) -> int:
        """Processes the kernel killed for memory, in the node and all agents."""
        name = "memory.events" if self.kind == "v2" else "memory.oom_control"
        places = [self.node] if self.kind == "v2" else [self.node, *self.memory.values()]
        return sum(number(_bytes(f"{place}/{name}"), b"oom_kill") or 0 for place in places)

    def peak_mb(self) -> float:
        text = _bytes(f"{self.node}/memory.peak") or _bytes(f"{self.node}/memory.max_usage_in_bytes")
        return round(int(text or b"0") / MB, 1)

    def spec(self) -> dict[str, Any]:
        return asdict(self)


def fit(node_mb: int) -> None:
    """Raises Unfit, so that a run never endangers what else this machine does."""
    if os.getuid() != 0:
        raise Unfit("only root can make memory cgroups")
    node = NodeMemory()
    told = node.read()
    node.close()
    free_mb = told.available_bytes // MB if told else 0
    needed_mb = node_mb + min(SPARE_MB, 2 * node_mb)
    if free_mb < needed_mb:
        raise Unfit(f"{free_mb} MB are available, a node of {node_mb} MB needs {needed_mb}")


def make(node_mb: int, agents: Sequence[str]) -> Ground:
    """Raises Unfit when there is no memory cgroup to be had."""
    plan = cgroups.choose(f"bench{os.getpid()}")
    limit = node_mb * MB
    roots = [str(each) for each in (plan.v2_root, *plan.v1_roots.values()) if each is not None]
    if "memory" in plan.v2_controllers and plan.v2_root is not None:
        node = plan.v2_root / "node"
        node.mkdir()
        for place in (plan.v2_root, node):
            (place / "cgroup.subtree_control").write_text("+memory")
        (node / "memory.max").write_text(str(limit))
        own = {agent: _child(node, agent) for agent in agents}
        return Ground("v2", str(node), own, own, {}, roots)
    if "memory" not in plan.v1_roots:
        groups.close(plan)
        raise Unfit(f"no memory cgroup: {plan.why}")
    node = plan.v1_roots["memory"] / "node"
    node.mkdir()
    (node / "memory.limit_in_bytes").write_text(str(limit))
    memory = {agent: _child(node, agent) for agent in agents}
    v2 = {agent: _child(plan.v2_root, agent) for agent in agents} if plan.v2_root else {}
    tracker = plan.v1_roots.get("freezer")
    freezer = {agent: _child(tracker, agent) for agent in agents} if tracker and not v2 else {}
    return Ground("v1", str(node), memory, v2, freezer, roots)


def remove(made: Ground) -> bool:
    """All of this run's directories. What is still dying in them gets ten seconds."""
    for _ in range(200):
        for root in made.roots:
            for path, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
        if not any(Path(root).exists() for root in made.roots):
            return True
        time.sleep(0.05)
    return False


def _child(parent: Path, agent: str) -> str:
    directory = parent / agent
    directory.mkdir()
    return str(directory)


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
