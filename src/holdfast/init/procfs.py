"""Reading /proc: who a pid is, told apart from any later process with the same number. Used by init and guard."""

from __future__ import annotations

import os
from typing import NamedTuple

from holdfast.init.protocol import INSTANCE_ENV

LISTINGS_MAX = 8  # of children, until two are equal


class Process(NamedTuple):
    """One line of /proc/PID/stat. `starttime` in clock ticks since boot: with the pid it names a process."""

    pid: int
    state: str
    ppid: int
    session: int
    starttime: int


def read(pid: int) -> Process | None:
    """None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(2048)
    except OSError:
        return None
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 20:
        return None
    return Process(pid, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


def is_running(pid: int, starttime: int) -> bool:
    """True while that very process lives; a zombie does not."""
    process = read(pid)
    return process is not None and process.starttime == starttime and process.state not in "ZX"


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def table() -> dict[int, Process]:
    """Every process of the machine at about this moment."""
    return {process.pid: process for process in map(read, pids()) if process is not None}


def children(pid: int) -> list[int]:
    """Direct children, as the kernel lists them; empty where it does not.

    The kernel leaves out others when one that it has just listed is reaped meanwhile: right only for our own children,
    which nobody else reaps, or where a miss does no harm. See `all_children`.
    """
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue  # a thread that has just ended; its children are another's now
    return found


def all_children(pid: int) -> list[int]:
    """Direct children of a process that reaps on its own: none is left out.

    A list that left somebody out names one that was reaped, which the next list cannot name: two that are equal are
    whole. Where children come and go too fast for that, the whole machine is read.
    """
    listed = children(pid)
    for _ in range(LISTINGS_MAX):
        again = children(pid)
        if again == listed:
            return listed
        listed = again
    return [process.pid for process in table().values() if process.ppid == pid]


def instance_of(pid: int) -> str | None:
    """The value of HOLDFAST_INSTANCE in its environment; None when absent or not readable for us."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
    except OSError:
        return None
    key = INSTANCE_ENV.encode() + b"="
    for entry in environment.split(b"\0"):
        if entry.startswith(key):
            return entry[len(key) :].decode(errors="replace")
    return None


def holds_open(pid: int, paths: set[str]) -> bool:
    """Whether one of its descriptors is one of these files."""
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for number in numbers:
        try:
            if os.readlink(f"/proc/{pid}/fd/{number}") in paths:
                return True
        except OSError:
            continue
    return False


def boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
