"""A glance at the machine and at single processes, for `top`: pressure, memory, disk, what a process uses.

Invariant: a value the kernel does not give is None, never a guess and never an error. Parsers are pure. For looks a
second apart; rules use pressure.py and disks.py instead.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

PRESSURE_OF = {"cpu": "some", "memory": "full", "io": "full"}  # as pressure.py judges them


class Overview(NamedTuple):
    """`pressure`: share of the last 10 s in which tasks stalled, by resource. `load` and `cores` of the machine."""

    pressure: dict[str, float | None]
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    swap_used_bytes: int | None
    disk_total_bytes: int | None
    disk_free_bytes: int | None
    load: float | None
    cores: int


class ProcessUse(NamedTuple):
    """Resident memory, and CPU seconds since the process began."""

    rss_bytes: int
    cpu_s: float


def look(directory: Path) -> Overview:
    """The machine now; `directory`: whose disk is meant."""
    memory = meminfo(_read("/proc/meminfo"))
    disk = None
    with contextlib.suppress(OSError):
        disk = os.statvfs(directory)
    load = None
    with contextlib.suppress(OSError):
        load = os.getloadavg()[0]
    swap_total, swap_free = memory.get("SwapTotal"), memory.get("SwapFree")
    return Overview(
        pressure={name: stall(_read(f"/proc/pressure/{name}"), kind) for name, kind in PRESSURE_OF.items()},
        memory_total_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        swap_used_bytes=None if swap_total is None or swap_free is None else swap_total - swap_free,
        disk_total_bytes=None if disk is None else disk.f_blocks * disk.f_frsize,
        disk_free_bytes=None if disk is None else disk.f_bavail * disk.f_frsize,
        load=load,
        cores=os.cpu_count() or 1,
    )


def process(pid: int) -> ProcessUse | None:
    """What one process uses; None when it is gone or must not be looked at."""
    return process_use(_read(f"/proc/{pid}/stat"), os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE"))


def process_use(stat: str, ticks_per_s: int, page_bytes: int) -> ProcessUse | None:
    """From the text of /proc/PID/stat; the name in it may hold anything."""
    fields = stat.rpartition(")")[2].split()
    try:
        return ProcessUse(int(fields[21]) * page_bytes, (int(fields[11]) + int(fields[12])) / ticks_per_s)
    except (IndexError, ValueError):
        return None


def meminfo(text: str) -> dict[str, int]:
    """Bytes by name."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        value = rest.split()
        if value and value[0].isdecimal():
            found[name] = int(value[0]) * 1024
    return found


def stall(text: str, kind: str) -> float | None:
    """`avg10` of one line of a pressure file as a share."""
    for line in text.splitlines():
        if line.startswith(f"{kind} "):
            with contextlib.suppress(ValueError, IndexError):
                return float(line.split("avg10=")[1].split()[0]) / 100
    return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # gone, forbidden, or a kernel without it
        return ""
