"""The tree of one instance: who belongs to it, and how nothing of it is left.

Three ways of knowing, best first: its v2 cgroup, its v1 cgroup (a list
of pids), or neither: then init is a subreaper, so that every process whose parents died is a child of init or
guard, and it is told to whom it belongs by instance id, by the agent's files it holds open, or by session.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from holdfast.init import procfs
from holdfast.init.protocol import AgentDef

CGROUPS = "/sys/fs/cgroup"
KILL_ROUNDS = 3  # stop, then kill, then look again: a tree that forks faster than we list is frozen first


def is_empty_v2(directory: str) -> bool:
    """Whether nothing lives in it. A cgroup that is gone is empty; an empty one that was left frozen is thawed, since
    an init that was killed between freezing and thawing remembers neither.
    """
    try:
        with open(f"{directory}/cgroup.events", "rb", buffering=0) as file:
            told = file.read(256)
    except OSError:
        return True
    empty = b"populated 0" in told
    if empty and b"frozen 1" in told:
        _write(f"{directory}/cgroup.freeze", "0")
    return empty


def members(definition: AgentDef, instance: str, main: tuple[int, int], orphans: Callable[[], list[int]]) -> list[int]:
    """Living processes of the instance.

    `main`: pid and start time of its main process. `orphans` lists the children of init and guard that are
    nobody's main.
    """
    if definition.cgroup_v2:
        return _living(inside(definition.cgroup_v2))
    if definition.cgroup_v1:
        return _living(inside(definition.cgroup_v1[0]))
    strays = [pid for pid in orphans() if _belongs(pid, definition, instance, main[0])]
    if procfs.is_running(*main):
        strays.append(main[0])
    return _with_descendants(strays)


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill(definition: AgentDef, instance: str, main: tuple[int, int], orphans: Callable[[], list[int]]) -> int:
    """Kill everything of the instance that can be found; returns how many were seen. Call again until empty.

    A v2 cgroup is frozen first, so that nothing in it forks while it is listed; SIGKILL reaches what is frozen.
    `cgroup.kill` is not used: once it was, Linux 6.18 kills every process that is born into that cgroup from
    outside (CLONE_INTO_CGROUP), for as long as the cgroup exists (measured).
    """
    if definition.cgroup_v2:
        _write(f"{definition.cgroup_v2}/cgroup.freeze", "1")
    seen_pids: set[int] = set()
    for round_number in range(KILL_ROUNDS):
        found = members(definition, instance, main, orphans)
        if not found:
            break
        seen_pids.update(found)
        if round_number == 0 and not definition.cgroup_v2:
            signal_all(found, signal.SIGSTOP)
            found = members(definition, instance, main, orphans)
            seen_pids.update(found)
        signal_all(found, signal.SIGKILL)
    for directory in definition.cgroup_v1:
        _thaw(directory)
    return len(seen_pids)


def inside(directory: str) -> list[int]:
    """Pids in a cgroup and in those below it, zombies too."""
    found: list[int] = []
    for path, _, files in os.walk(directory):
        if "cgroup.procs" not in files:
            continue
        try:
            with open(f"{path}/cgroup.procs", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


def _living(pids: list[int]) -> list[int]:
    """Zombies stay in cgroup.procs until they are reaped."""
    return [pid for pid in pids if (process := procfs.read(pid)) is not None and process.state not in "ZX"]


def _belongs(pid: int, definition: AgentDef, instance: str, main_pid: int) -> bool:
    process = procfs.read(pid)
    if process is None or process.state in "ZX":
        return False
    told = procfs.instance_of(pid)
    if told is not None:
        return told.rpartition(":")[0] == instance.rpartition(":")[0]
    if main_pid and process.session == main_pid:
        return True
    return procfs.holds_open(pid, {definition.fifo, definition.lock})


def _with_descendants(roots: list[int]) -> list[int]:
    """The roots and all below them that live."""
    if not roots:
        return []
    below: dict[int, list[int]] = {}
    everyone = procfs.table()
    for process in everyone.values():
        below.setdefault(process.ppid, []).append(process.pid)
    found: list[int] = []
    queue = list(roots)
    while queue:
        pid = queue.pop()
        if pid in found or pid not in everyone or everyone[pid].state in "ZX":
            continue
        found.append(pid)
        queue += below.get(pid, [])
    return found


def remove_groups(definitions: list[AgentDef], home_id: str) -> None:
    """At the end of Holdfast: every empty cgroup that bears this home's name, in each hierarchy it may stand in."""
    name = f"holdfast-{home_id}"
    roots: set[str] = set()
    try:
        hierarchies = ["", *(f"/{hierarchy}" for hierarchy in os.listdir(CGROUPS))]
        with open("/proc/self/cgroup") as file:
            ours = {line.rstrip("\n").split(":", 2)[2].rstrip("/") for line in file} | {""}
        roots = {f"{CGROUPS}{hierarchy}{own}/{name}" for hierarchy in hierarchies for own in ours}
    except OSError:
        pass
    for definition in definitions:
        groups = filter(None, (definition.cgroup_v2, *definition.v1_groups()))
        roots |= {parent for parent in map(os.path.dirname, groups) if os.path.basename(parent) == name}
    for root in roots:
        for path, _, _ in os.walk(root, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                continue


def _thaw(directory: str) -> None:
    """A frozen v1 task dies only after the thaw."""
    if os.path.exists(f"{directory}/freezer.state"):
        _write(f"{directory}/freezer.state", "THAWED")


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass  # gone, or before Linux 5.2
