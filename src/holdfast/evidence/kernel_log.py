"""What the kernel said about memory: lines of its log that concern one agent. Reading is thin, choosing is pure.

Called by the keeper in a thread, after a process was killed for memory.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from holdfast import limits
from holdfast.evidence.model import KernelLine

_RECORD = re.compile(r"^\d+,\d+,(\d+),[^;]*;(.*)$", re.DOTALL)
_KILL = re.compile(
    r"oom-kill:constraint=(?P<constraint>\w+).*?(?:task_memcg=(?P<group>[^,]+))?,task=(?P<task>[^,]+),pid=(?P<pid>\d+)"
)
_KILLED = re.compile(r"Killed process (?P<pid>\d+) \((?P<task>.*?)\).*?anon-rss:(?P<anon>\d+)kB")
_ROW = re.compile(r"\[\s*(?P<pid>\d+)\]\s+\d+\s+\d+\s+\d+\s+(?P<rss>\d+)\s.*\s(?P<name>\S+)$")
# Of a report of a hundred lines, those that tell something; registers and the call trace of the victim do not.
_TELLS = re.compile(
    r"invoked oom-killer|oom-kill:|Killed process|[Oo]ut of memory|memory: usage|swap: usage|kmem: usage"
    r"|^(?:anon|file|shmem|slab|rss|cache|total_rss|total_shmem) \d"
)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_BEFORE_S = 2.0  # the report of one kill is written within this


class Victim(Struct, frozen=True, kw_only=True):
    """One process the kernel killed for memory. `whole_machine`: not a limit, the machine itself was out of it."""

    at: float
    pid: int
    name: str
    group: str
    whole_machine: bool
    anon_bytes: int = 0


class KernelStory(Struct, frozen=True, kw_only=True):
    """`biggest`: (name, pid, resident bytes) of the processes the kernel listed, largest first."""

    lines: tuple[KernelLine, ...] = ()
    victims: tuple[Victim, ...] = ()
    biggest: tuple[tuple[str, int, int], ...] = ()
    gap: str = ""


def read(since_at: float) -> tuple[list[KernelLine], str]:
    """The kernel's log since a wall-clock time, and why there is none when it may not be read."""
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return [], f"the kernel's log may not be read ({error.strerror}): run Holdfast as root to see it"
    found: list[KernelLine] = []
    try:
        for raw in _records(fd):
            line = parse_record(raw.decode("utf-8", "replace"), booted_at)
            if line is not None and line.at >= since_at:
                found.append(line)
    finally:
        os.close(fd)
    return found, ""


def _records(fd: int) -> Iterator[bytes]:
    total = 0
    while total < limits.KERNEL_LOG_MAX_BYTES:
        try:
            raw = os.read(fd, 8192)
        except BrokenPipeError:
            continue  # overwritten while we read: go on with the next one
        except (BlockingIOError, OSError):
            return
        if not raw:
            return
        total += len(raw)
        yield raw


def parse_record(raw: str, booted_at: float) -> KernelLine | None:
    """One record of /dev/kmsg: "prio,seq,microseconds,flags;text" and dictionary lines, which are left out."""
    match = _RECORD.match(raw)
    if match is None:
        return None
    return KernelLine(at=booted_at + int(match[1]) / 1e6, text=match[2].partition("\n")[0])


def story(lines: Sequence[KernelLine], groups: Collection[str], pids: Collection[int]) -> KernelStory:
    """What of it concerns the agent. `groups`: names of its cgroups (last part of the path)."""
    victims: dict[tuple[int, int], Victim] = {}
    kept: list[KernelLine] = []
    for position, line in enumerate(lines):
        found = _KILL.search(line.text)
        if found is None or not _concerns(found, groups, pids):
            continue
        pid = int(found["pid"])
        whole = found["constraint"] == "CONSTRAINT_NONE"
        anon = _anon(lines[position : position + 5], pid)
        victims[pid, round(line.at)] = Victim(
            at=line.at, pid=pid, name=found["task"], group=found["group"] or "", whole_machine=whole, anon_bytes=anon
        )
        kept += [each for each in _report(lines, position) if each not in kept]
    rows = {}
    for line in kept:
        row = _ROW.search(line.text)
        if row:
            rows[int(row["pid"])] = (row["name"], int(row["pid"]), int(row["rss"]) * _PAGE_BYTES)
    biggest = sorted(rows.values(), key=lambda row: -row[2])[:5]
    shown = [line for line in kept if _TELLS.search(line.text)][-limits.KERNEL_LINES_KEPT :]
    return KernelStory(lines=tuple(shown), victims=tuple(victims.values()), biggest=tuple(biggest))


def _concerns(found: re.Match[str], groups: Collection[str], pids: Collection[int]) -> bool:
    parts = (found["group"] or "").split("/")
    return any(part in groups for part in parts) or int(found["pid"]) in pids


def _report(lines: Sequence[KernelLine], position: int) -> list[KernelLine]:
    """The lines of one report: from "invoked oom-killer" to "Killed process"."""
    at = lines[position].at
    first = position
    while first > 0 and lines[first - 1].at >= at - _BEFORE_S and "invoked oom-killer" not in lines[first].text:
        first -= 1
    last = position
    while last + 1 < len(lines) and last < position + 4 and not _KILLED.search(lines[last].text):
        last += 1
    return list(lines[first : last + 1])


def _anon(lines: Sequence[KernelLine], pid: int) -> int:
    for line in lines:
        found = _KILLED.search(line.text)
        if found and int(found["pid"]) == pid:
            return int(found["anon"]) * 1024
    return 0
