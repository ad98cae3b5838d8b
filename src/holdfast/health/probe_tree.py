"""The processes of one run of a probe: found, ended, and nothing left of them.

A run is known by cgroups of its own (ROOT/AGENT.probe-PID-NUMBER, beside the agent's, never inside), else by ancestry,
session and the mark HOLDFAST_PROBE in the environment. Standard library only. Called by prober.py.
"""

from __future__ import annotations

import os
import signal
import time

from holdfast.init import procfs

MARK_ENV = "HOLDFAST_PROBE"  # HOME_ID:AGENT:NUMBER
INFIX = ".probe-"
KILL_ROUNDS = 40
ROUND_PAUSE_S = 0.005


def join(directories: list[str]) -> None:
    """The calling process enters these cgroups. Raises OSError."""
    for directory in directories:
        fd = os.open(f"{directory}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)


def kill(main_pid: int, mark: str, directories: list[str]) -> int:
    """End all processes of a run; returns how many were seen. What forks while it is listed is met in a later round."""
    seen: set[int] = set()
    for number in range(KILL_ROUNDS):
        found = _members(main_pid, mark, directories)
        if not found:
            break
        seen.update(found)
        for directory in directories:
            _write(f"{directory}/cgroup.kill", "1")  # v2 only; the directory is never used for another run
        for order in (signal.SIGSTOP, signal.SIGKILL) if number == 0 else (signal.SIGKILL,):
            for pid in found:
                try:
                    os.kill(pid, order)
                except (ProcessLookupError, PermissionError):
                    continue
        time.sleep(ROUND_PAUSE_S)
    return len(seen)


def remove(directories: list[str]) -> bool:
    """Take a run's cgroups away; False while a zombie is still in one."""
    gone = True
    for directory in directories:
        for path, _, _ in os.walk(directory, topdown=False):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
    return gone


def sweep(roots: list[str], home_id: str) -> int:
    """End what runs of an earlier prober left behind; returns how many processes those were."""
    killed = 0
    for root in roots:
        try:
            names = [name for name in os.listdir(root) if INFIX in name]
        except OSError:
            continue
        for name in names:
            directory = f"{root}/{name}"
            killed += kill(0, "", [directory])
            remove([directory])
    if not roots:
        for pid in procfs.pids():
            told = mark_of(pid)
            if told is not None and told.split(":")[0] == home_id:
                killed += kill(pid, told, [])
    return killed


def mark_of(pid: int) -> str | None:
    """The value of HOLDFAST_PROBE in its environment; None when absent or not readable for us."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = file.read(262_144).split(b"\0")
    except OSError:
        return None
    key = MARK_ENV.encode() + b"="
    return next((entry[len(key) :].decode(errors="replace") for entry in entries if entry.startswith(key)), None)


def _members(main_pid: int, mark: str, directories: list[str]) -> list[int]:
    """Living processes of the run."""
    if directories:
        pids = {pid for directory in directories for pid in _procs(directory)}
        return [pid for pid in pids if (one := procfs.read(pid)) is not None and one.state not in "ZX"]
    everyone = procfs.table()
    own = os.getpid()
    found = {main_pid} if main_pid in everyone else set()
    grown = True
    while grown:
        grown = False
        for one in everyone.values():
            if one.pid in found or one.pid == own:
                continue
            # An orphan of the run has become our own child.
            stray = one.ppid == own and mark_of(one.pid) == mark
            if one.ppid in found or (main_pid and one.session == main_pid) or stray:
                found.add(one.pid)
                grown = True
    return [pid for pid in found if everyone[pid].state not in "ZX"]


def _procs(directory: str) -> list[int]:
    found: list[int] = []
    for path, _, _ in os.walk(directory):
        try:
            with open(f"{path}/cgroup.procs", "rb") as file:
                found += map(int, file.read().split())
        except (OSError, ValueError):
            continue
    return found


def _write(path: str, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, text.encode())
    except OSError:
        pass
    finally:
        os.close(fd)
