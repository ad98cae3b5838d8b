"""The node of a scenario: one memory cgroup with a limit, on v2 or v1, and what has to be known of it.

Everything lies below a directory of this run's own, which is removed at the end, with what Holdfast made of its own in
the other hierarchies. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from holdfast.init import procfs
from holdfast.node import cgroups
from holdfast.node.kept_file import number
from holdfast.node.memory import NodeMemory

MB = 1024 * 1024
SPARE_MB = 1536  # of the machine, beyond the node, or twice a small node: it must not come under pressure itself
_TOP = Path("/sys/fs/cgroup")


class Unfit(Exception):
    """This machine cannot carry the node; the text says why."""


@dataclass(frozen=True, slots=True)
class Ground:
    """`kind`: v2 or v1. `node`: the directory whose limit is the node's memory."""

    kind: str
    node: str

    def enter(self) -> None:
        """Move the calling process into the node."""
        with open(f"{self.node}/cgroup.procs", "w") as file:
            file.write("0")

    def begin(self) -> None:
        """Called by the first process of the scenario's namespace: with v2, Holdfast makes its groups below the one it
        is in only where the first process is in none that is the machine's."""
        if self.kind == "v2":
            self.enter()

    def kernel_kills(self) -> int:
        """Processes the kernel killed for memory, in the node and all groups below."""
        if self.kind == "v2":
            return number(_bytes(f"{self.node}/memory.events"), b"oom_kill") or 0
        found = [Path(path, "memory.oom_control") for path, _, _ in os.walk(self.node)]
        return sum(number(_bytes(str(each)), b"oom_kill") or 0 for each in found)

    def times_full(self) -> int:
        """v2: how often the node's own limit was hit so that the kernel had to choose a victim among all."""
        return number(_bytes(f"{self.node}/memory.events.local"), b"oom") or 0

    def peak_mb(self) -> float:
        text = _bytes(f"{self.node}/memory.peak") or _bytes(f"{self.node}/memory.max_usage_in_bytes")
        return round(int(text or b"0") / MB, 1)

    def spec(self) -> dict[str, Any]:
        return asdict(self)


def living() -> dict[str, list[int]]:
    """Processes of the caller's namespace by the name they gave themselves, without zombies."""
    found: dict[str, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (process := procfs.read(int(entry))) is not None and process.state not in "ZX":
            name = _bytes(f"/proc/{entry}/comm").decode(errors="replace").strip()
            found.setdefault(name, []).append(int(entry))
    return found


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


def make(node_mb: int) -> Ground:
    """Raises Unfit when there is no memory cgroup to be had."""
    plan = cgroups.expect()
    limit, name = str(node_mb * MB), f"holdfast-bench-{os.getpid()}"
    if "memory" in plan.v2_controllers and plan.v2_root is not None:
        base = plan.v2_root.parent
        for controller in sorted(plan.v2_controllers):
            (base / "cgroup.subtree_control").write_text(f"+{controller}")
        node = base / name
        node.mkdir()
        (node / "memory.max").write_text(limit)
        return Ground("v2", str(node))
    if "memory" not in plan.v1_roots:
        raise Unfit(f"no memory cgroup: {plan.why}")
    node = plan.v1_roots["memory"].parent / name
    node.mkdir()
    (node / "memory.limit_in_bytes").write_text(limit)
    return Ground("v1", str(node))


def remove(made: Ground, home_id: str) -> bool:
    """All of this run's directories, and those of the home in other hierarchies. What is dying gets ten seconds."""

    def ours(path: str) -> bool:
        return path.startswith(made.node) or bool(home_id and f"/holdfast-{home_id}" in path)

    def there() -> list[str]:
        return [path for path, _, _ in os.walk(_TOP, topdown=False) if ours(path)]

    return _until_gone(there)


def _until_gone(there: Callable[[], list[str]]) -> bool:
    for _ in range(200):
        left = there()
        for path in left:
            with contextlib.suppress(OSError):
                os.rmdir(path)
        if not left:
            return True
        time.sleep(0.05)
    return False


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
