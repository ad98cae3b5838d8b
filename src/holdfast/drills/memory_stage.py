"""Where the drills about memory take place: a throw-away Holdfast on a small node, with agents that must not notice.

As root, where a memory cgroup can be made around all of it (v1), the node is that cgroup: the kernel itself keeps the
drill from the machine's memory. Elsewhere it is `node: {memory}`, and what the agents take is bounded by the drill.
Invariant: nothing is begun where the machine has not the memory to spare. Made by the command line, once for each
fault; see memory_ways.py.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from holdfast import errors
from holdfast.drills.faults import Fault
from holdfast.drills.stage import Asker, Row, ThrowAwayStage
from holdfast.errors import HoldfastError
from holdfast.home import Home
from holdfast.node import cgroups
from holdfast.node.kept_file import number
from holdfast.node.memory import NodeMemory
from holdfast.sizes import size

MB: Final = 1 << 20
NODE_BYTES: Final = 768 * MB
RESERVE_BYTES: Final = 128 * MB
MOST_BYTES: Final = NODE_BYTES + NODE_BYTES // 4  # what a spike takes where nothing holds it
SPARE_BYTES: Final = 768 * MB  # of the machine beside that: it must not come under pressure itself
IMPORTANT: Final = ("important-1", "important-2", "important-3")
HOLDS_BYTES: Final = 40 * MB  # each of them
VICTIM_BYTES: Final = 120 * MB  # what the agent holds that makes room for other software
LIMIT_BYTES: Final = 120_000_000  # of the agent that leaks
HEAVY_BYTES: Final = 120 * MB  # what a start of the storm takes
STORM: Final = 6
_GONE_S = 10.0


def unfit() -> str:
    """Why the drill would endanger the machine, one clause; "": it would not."""
    node = NodeMemory()
    told = node.read()
    node.close()
    free = told.available_bytes if told is not None else 0
    needed = MOST_BYTES + SPARE_BYTES
    return "" if free >= needed else f"{size(free)} of memory are free, {size(needed)} are needed to try it safely"


class MemoryStage(ThrowAwayStage):
    """See the module."""

    def __init__(self, connect: Callable[[Home], Asker], faults: Sequence[Fault]) -> None:
        self.fault = faults[0]
        self.group = _make()
        try:
            super().__init__(connect, faults)
        except BaseException:
            self._remove()
            raise

    def mount(self) -> None:
        self.home.path.mkdir()

    def others(self) -> list[str]:
        return [*IMPORTANT, *self.storm()[1:]]

    def storm(self) -> list[str]:
        """The agents of a start-storm; the first is the one that every stage has."""
        name = f"drill-{self.fault.name}"
        return (
            [name, *(f"storm-{number}" for number in range(2, STORM + 1))] if self.fault.name == "start-storm" else []
        )

    def settings(self, name: str) -> Row:
        if name in IMPORTANT:
            needs = {"memory": {"start": "70M"}, "priority": 100, "env": {"DRILL_HOLDS": str(HOLDS_BYTES)}}
            return needs | {"limits": {"memory": "none"}}
        if name in self.storm():
            heavy = {"DRILL_START": str(HEAVY_BYTES)}
            return {"memory": {"start": "150M"}, "priority": 50, "env": heavy, "limits": {"memory": "none"}}
        own: Row = {"memory": {"start": "40M"}, "priority": 1, "limits": {"memory": str(MOST_BYTES)}}
        if self.fault.name == "leak":
            own["limits"] = {"memory": str(LIMIT_BYTES)}
        elif self.fault.name == "neighbour":
            own |= {"env": {"DRILL_HOLDS": str(VICTIM_BYTES)}, "memory": {"start": "150M"}}
        return own

    def top(self) -> Row:
        node = {} if self.group is not None else {"memory": str(NODE_BYTES)}
        return {"node": {**node, "reserve": str(RESERVE_BYTES)}}

    def line(self, *arguments: str) -> list[str]:
        line = super().line(*arguments)
        return self.inside(line) if self.group is not None and arguments[0] == "up" else line

    def inside(self, line: Sequence[str]) -> list[str]:
        """The command, run within the cgroup that is the node."""
        return ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.group), *line]

    def kernel_kills(self) -> int:
        """Processes that the kernel killed for memory in the node; 0 where nobody counts them."""
        if self.group is None:
            return 0
        found = 0
        for file in [self.group / "memory.oom_control", *self.group.rglob("*/memory.oom_control")]:
            with contextlib.suppress(OSError):
                found += number(file.read_bytes(), b"oom_kill") or 0
        return found

    def close(self) -> None:
        super().close()
        self._remove()

    def _remove(self) -> None:
        """What is still dying in it gets a while."""
        end = time.monotonic() + _GONE_S
        while self.group is not None and self.group.exists() and time.monotonic() < end:
            for path in sorted((one for one in self.group.rglob("*") if one.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    path.rmdir()
            try:
                self.group.rmdir()
            except OSError:
                time.sleep(0.05)


def _make() -> Path | None:
    """A memory cgroup of the size of the node in which all agents will be; None where there is none to be had."""
    root = cgroups.expect().v1_roots.get("memory")  # with v2 as root, agents are not below the drill's own cgroup
    if root is None:
        return None
    group = root.parent / f"holdfast-drill-{time.time_ns():x}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(NODE_BYTES))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        return None
    return group


class Taker:
    """Other software that takes the node's memory: `end` gives it back. Raises HoldfastError when it cannot begin."""

    _PROGRAM = (
        "import sys, time\nheld = []\nfor _ in range(int(sys.argv[1])):\n held.append(bytearray(b'x') * (8 << 20))\n"
        " time.sleep(0.02)\nprint('taken', flush=True)\nsys.stdin.read()"
    )

    def __init__(self, stage: MemoryStage, python: str, take_bytes: int) -> None:
        line = stage.inside([python, "-I", "-S", "-c", self._PROGRAM, str(take_bytes // (8 * MB))])
        try:
            self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        except OSError as error:
            raise HoldfastError(errors.DRILL_FAILED, reason=f"the neighbour did not start: {error}") from None

    def lives(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
