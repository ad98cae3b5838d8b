"""The counters of a tree's cgroups, v2 and v1, and who is in them.

Every function survives a cgroup that is taken away meanwhile. Called by collect.py and, after a death, the keeper.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_FILES = (
    "memory.current", "memory.max", "memory.high", "memory.peak", "memory.swap.current", "memory.events", "memory.stat",
    "memory.pressure", "memory.usage_in_bytes", "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.failcnt",
    "memory.oom_control", "cpu.stat", "cpu.max", "cpu.pressure", "io.pressure", "cpuacct.usage", "pids.current",
    "pids.max", "pids.events", "cgroup.events", "freezer.state",
)  # fmt: skip
_MEMORY_STAT = frozenset(
    ("anon", "file", "shmem", "kernel", "slab", "sock", "pgmajfault", "cache", "rss", "swap", "total_rss")
)
_UNLIMITED_BYTES = 1 << 60  # v1 says "no limit" by a number


def counters(directories: Sequence[str]) -> dict[str, dict[str, str]]:
    """file -> {name: value}; a file with one value has the name "". The first directory that has a file tells it."""
    found: dict[str, dict[str, str]] = {}
    for directory in directories:
        for name in _FILES:
            if name in found:
                continue
            try:
                text = Path(directory, name).read_text()
            except OSError:
                continue
            found[name] = parse(name, text)
    return found


def parse(name: str, text: str) -> dict[str, str]:
    """One counter file: a single value, `name value` lines, or pressure lines."""
    lines = text.splitlines()
    if len(lines) == 1 and not name.endswith((".stat", ".events", ".pressure")):
        return {"": lines[0].strip()}
    pairs = (line.partition(" ") for line in lines)
    wanted = _MEMORY_STAT if name == "memory.stat" else None
    return {key: value.strip() for key, _, value in pairs if wanted is None or key in wanted}


def pids(directories: Sequence[str], main_pid: int) -> list[int]:
    """Everybody in the first of the cgroups that really holds the main process; [] when none does."""
    for directory in directories:
        found: list[int] = []
        for path, _, files in os.walk(directory):
            if "cgroup.procs" in files:
                try:
                    found += map(int, Path(path, "cgroup.procs").read_text().split())
                except (OSError, ValueError):
                    continue
        if main_pid in found:
            return sorted(set(found))
    return []


def number(counted: dict[str, dict[str, str]], *places: tuple[str, str]) -> int | None:
    """The first of the places (file, name) that holds a number; v1's "no limit" counts as none."""
    for file, name in places:
        value = counted.get(file, {}).get(name, "")
        if value.isdecimal() and int(value) < _UNLIMITED_BYTES:
            return int(value)
    return None


def ceiling_bytes(counted: dict[str, dict[str, str]]) -> int | None:
    """What really holds it now, a lease or its declared limit. In v2 memory.max stands above the ceiling."""
    return number(counted, ("memory.high", ""), ("memory.limit_in_bytes", ""), ("memory.max", ""))


def peak_bytes(counted: dict[str, dict[str, str]]) -> int | None:
    return number(counted, ("memory.peak", ""), ("memory.max_usage_in_bytes", ""))


def used_bytes(counted: dict[str, dict[str, str]]) -> int | None:
    return number(counted, ("memory.current", ""), ("memory.usage_in_bytes", ""))


def oom_kills(counted: dict[str, dict[str, str]]) -> int | None:
    return number(counted, ("memory.events", "oom_kill"), ("memory.oom_control", "oom_kill"))
