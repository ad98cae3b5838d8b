"""One process as /proc tells it, in two steps: what never blocks, then what may wait for the process's memory lock.

A process stuck in the kernel can hold that lock, and whoever reads its command line then waits with it. So the second
step comes last and the first was handed over before. Every function survives a process that dies meanwhile.
Called by collect.py, in a process that is killed at the bound.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from holdfast import limits
from holdfast.evidence.model import Descriptor, Process, Socket, Thread
from holdfast.node import processes

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_SHOWN_LIMITS = ("Max open files", "Max processes", "Max address space", "Max data size", "Max cpu time")


def first_look(pid: int, sockets: dict[int, Socket]) -> Process | None:
    """What never blocks. None when there is no such process. `sockets`: by inode."""
    found = processes.stat(pid)
    if found is None:
        return None
    told = fields(_read(f"/proc/{pid}/status"))
    numbers, targets = _descriptors(pid)
    shown, joined = [], []
    for number, target in targets:
        match = _SOCKET.fullmatch(target)
        known = sockets.get(int(match[1])) if match else None
        if known is not None:
            joined.append(replace(known, fd=number))
        else:
            shown.append(Descriptor(fd=number, target=_cut(target)))
    uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return Process(
        pid=pid,
        ppid=found.ppid,
        name=found.comm,
        program=_link(f"/proc/{pid}/exe"),
        state=found.state,
        age_s=round(max(0.0, uptime_s - found.starttime / _TICKS_PER_S), 3),
        cpu_s=found.cpu_s,
        rss_bytes=found.rss_bytes,
        swap_bytes=kilobytes(told.get("VmSwap", "")),
        voluntary_switches=int(told.get("voluntary_ctxt_switches", "0")),
        involuntary_switches=int(told.get("nonvoluntary_ctxt_switches", "0")),
        limits=parse_limits(_read(f"/proc/{pid}/limits")),
        descriptors_total=numbers,
        descriptors=tuple(shown),
        sockets=tuple(joined),
        threads_total=int(told.get("Threads", "0")),
        threads=tuple(_threads(pid)),
    )


def second_look(process: Process) -> None:
    """What may block: command line, and the share of memory that is really its own."""
    raw = _read(f"/proc/{process.pid}/cmdline").rstrip("\0")
    process.command = tuple(_cut(word) for word in raw.split("\0")[:200]) if raw else ()
    if process.rss_bytes <= limits.PSS_READ_MAX_BYTES:
        told = fields(_read(f"/proc/{process.pid}/smaps_rollup"))
        if "Pss" in told:
            process.pss_bytes = kilobytes(told["Pss"])


def maps_name(pid: int, needle: str) -> bool:
    """Whether a mapped file's name holds `needle`. May block, as second_look."""
    return needle in _read(f"/proc/{pid}/maps")


def parse_limits(text: str) -> dict[str, str]:
    """The soft limits worth knowing: {"Max open files": "1024", ...}."""
    shown = {}
    for line in text.splitlines():
        for name in _SHOWN_LIMITS:
            if line.startswith(name):
                values = line[len(name) :].split()
                shown[name] = values[0] if values else ""
    return shown


def fields(text: str) -> dict[str, str]:
    """`Name: value` lines."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in pairs}


def kilobytes(value: str) -> int:
    """ "12 kB" in bytes; 0 for anything else."""
    number = value.split(" ")[0]
    return int(number) * 1024 if number.isdecimal() else 0


def _threads(pid: int) -> Iterator[Thread]:
    try:
        tids = sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return
    for tid in tids[: limits.BUNDLE_THREADS_MAX]:
        place = f"/proc/{pid}/task/{tid}"
        text = _read(f"{place}/stat")
        if ")" not in text:
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        yield Thread(
            tid=tid,
            name=name,
            state=rest.split()[0],
            wchan=_wchan(place),
            syscall=_read(f"{place}/syscall").strip(),
            kernel_stack=tuple(_cut(line.partition("] ")[2]) for line in _read(f"{place}/stack").splitlines()[:40]),
        )


def _wchan(place: str) -> str:
    told = _read(f"{place}/wchan").strip()
    return "" if told == "0" else told


def _descriptors(pid: int) -> tuple[int, list[tuple[int, str]]]:
    """How many there are, and where the first of them lead."""
    try:
        numbers = sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0, []
    targets = []
    for number in numbers[: limits.BUNDLE_DESCRIPTORS_MAX]:
        target = _link(f"/proc/{pid}/fd/{number}")
        if target:
            targets.append((number, target))
    return len(numbers), targets


def _cut(text: str) -> str:
    return text[: limits.BUNDLE_TEXT_MAX_CHARS]


def _link(path: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(path)
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
