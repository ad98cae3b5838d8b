"""The ceilings of memory that a lost keeper left behind: first raised, and only later lifted.

Invariant: whoever stands at a ceiling goes on, and nothing is left at one for ever. While a keeper may still come back,
each agent that was held may take a share of what its node has left, and is killed by the kernel in its own group beyond
that: one that runs away does not take all of the node, where everybody stands still until the kernel has chosen.
Measured on a node of 300 MB, one, four, or two forking ones that run away: 160 to 256 MB at most and the node never at
its limit; with ceilings lifted at once all 300 MB each time.
Shares are of what is left at that moment, so they must not hold for long: who grows an hour later is no runaway.
All of it is read from the kernel, so a later init goes on with it. Called by pausing.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from holdfast.init.agent import Agent
from holdfast.init.protocol import AgentDef

_UNLIMITED = 1 << 60  # v1 says "no limit" by a number near 2^63
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file")
_V2 = ("memory.max", "memory.current", b"inactive_file")


def raise_all(agents: Iterable[Agent]) -> list[str]:
    """Let each that is held at a ceiling take a share of what its node has left; the names of them. The more of them
    stand at theirs, the less each: together they must not take all, and one share is nobody's."""
    held = [(agent, found) for agent in agents if (found := _held(agent.definition)) is not None]
    shares = 2 + sum(1 for _, (directory, words) in held if _stands(directory, words))
    for agent, (directory, words) in held:
        most_file, used_file, cached = words
        used = (number(f"{directory}/{used_file}") or 0) - field(f"{directory}/memory.stat", cached)
        most = max(number(f"{directory}/{most_file}") or 0, used + left(directory, words) // shares)
        declared = agent.definition.memory_bytes
        write(f"{directory}/{most_file}", str(most if declared is None else min(most, declared)))
        if words is _V2:
            write(f"{directory}/memory.high", "max")
        else:  # room first, then the killing
            write(f"{directory}/memory.oom_control", "0")
    return [agent.name for agent, _ in held]


def lift(agent: Agent) -> bool:
    """Its memory is held by the declared limit alone; True when something else held it."""
    definition = agent.definition
    declared = definition.memory_bytes
    high = f"{definition.cgroup_v2}/memory.high"
    if definition.cgroup_v2 and os.path.exists(high):
        slowed, backed = read(high).strip() != b"max", lift_backstop(definition)
        if slowed:
            write(high, "max")
        return slowed or backed
    for directory in definition.v1_groups():
        most = number(f"{directory}/memory.limit_in_bytes")
        waits = field(f"{directory}/memory.oom_control", b"oom_kill_disable") == 1
        if waits or (most is not None and most < (_UNLIMITED if declared is None else declared // 4096 * 4096)):
            write(f"{directory}/memory.limit_in_bytes", str(-1 if declared is None else declared))
            write(f"{directory}/memory.oom_control", "0")
            return True
    return False


def lift_unheld(definition: AgentDef) -> None:
    """A keeper steers again: v2 agents that it holds at no ceiling keep nothing of what was raised before."""
    if read(f"{definition.cgroup_v2}/memory.high").strip() == b"max":
        lift_backstop(definition)


def lift_backstop(definition: AgentDef) -> bool:
    """v2: a limit that nobody declared and that stands behind no ceiling; True when it held."""
    path = f"{definition.cgroup_v2}/memory.max"
    if not definition.cgroup_v2 or definition.memory_bytes is not None or read(path).strip() in (b"", b"max"):
        return False
    write(path, "max")
    return True


def left(directory: str, words: tuple[str, str, bytes]) -> int:
    """Bytes that the machine and all groups above this one could still give."""
    most_file, used_file, cached = words
    found = [field("/proc/meminfo", b"MemAvailable:") * 1024]
    above = os.path.dirname(directory)
    while (used := number(f"{above}/{used_file}")) is not None:
        most = number(f"{above}/{most_file}")
        if most is not None:
            found.append(most - used + field(f"{above}/memory.stat", cached))
        above = os.path.dirname(above)
    return max(0, min(found))


def _held(definition: AgentDef) -> tuple[str, tuple[str, str, bytes]] | None:
    """The group that a ceiling holds, and its words."""
    if definition.cgroup_v2 and read(f"{definition.cgroup_v2}/memory.high").strip() not in (b"", b"max"):
        return definition.cgroup_v2, _V2
    for directory in definition.v1_groups():
        if field(f"{directory}/memory.oom_control", b"oom_kill_disable") == 1:
            return directory, _V1
    return None


def _stands(directory: str, words: tuple[str, str, bytes]) -> bool:
    if words is _V2:
        return (number(f"{directory}/memory.current") or 0) >= (number(f"{directory}/memory.high") or 0)
    return field(f"{directory}/memory.oom_control", b"under_oom") == 1


# --- files of the kernel; whatever is not there says nothing ---------------------------------------------------------
def number(path: str) -> int | None:
    text = read(path).strip()
    return int(text) if text.isdigit() else None


def field(path: str, name: bytes) -> int:
    for line in read(path).splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == name:
            return int(words[1])
    return 0


def read(path: str) -> bytes:
    """Empty when it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 16_384)
    except OSError:
        return b""
    finally:
        os.close(fd)


def write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass  # gone, or it does not hold: the rest is freed all the same
