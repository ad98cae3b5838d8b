"""What this machine can hold, as facts with reasons: the machine's part of `holdfast doctor`.

Every check is made by really looking or trying, changes nothing that stays, and never fails itself: what cannot be
found out is told as such. Called by the keeper for the API and by the command line when no keeper runs.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from holdfast import limits
from holdfast.home import Home
from holdfast.node import cgroups, disks, holding, pressure, processes, users
from holdfast.sizes import size

_NR_CLONE3 = 435
_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes)
_STA_UNSYNC = 0x0040
_TIMEX_BYTES = 256  # struct timex is 208; the kernel writes no more


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `why` and `next` are empty when all is well."""

    name: str
    ok: bool
    value: str
    why: str = ""
    next: str = ""


def checks(home: Home, plan: cgroups.CgroupPlan | None = None) -> list[Check]:
    """All checks of the machine. `plan`: the keeper's own; without it the machine is only looked at."""
    looked: list[Callable[[], Check]] = [
        _python,
        _pidfd,
        _clone_into_cgroup,
        _exit_of_others,
        lambda: _cgroups(plan or cgroups.expect()),
        lambda: _leases(plan or cgroups.expect()),
        _swap,
        _overcommit,
        _user,
        _systemd,
        lambda: _disk(home),
        _pressure,
        _nofile,
        _clock,
    ]
    return [_safely(look) for look in looked]


def _safely(look: Callable[[], Check]) -> Check:
    try:
        return look()
    except (OSError, ValueError, AttributeError) as error:
        name = getattr(look, "__name__", "check").strip("_<>")
        return Check(name=name, ok=False, value="unknown", why=f"could not be found out: {error}")


def _python() -> Check:
    version = platform.python_version()
    return Check(name="python", ok=sys.version_info >= (3, 11), value=version, why="", next="")


def _pidfd() -> Check:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError) as error:
        why = f"the kernel refuses pidfd_open ({error}): deaths are found by looking, not told"
        return Check(name="pidfd", ok=False, value="absent", why=why, next="Use Linux 5.3 or later.")
    return Check(name="pidfd", ok=True, value="present")


def _clone_into_cgroup() -> Check:
    """clone3 with a size of 0: EINVAL where the call exists and is allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(_NR_CLONE3, None, ctypes.c_size_t(0))
    error = ctypes.get_errno()
    release = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if error != 22:
        why = f"clone3 is refused ({os.strerror(error)}): agents join their cgroup after birth, a little later"
        next_step = "Nothing must be done; Linux 5.7 or a newer seccomp profile is quicker."
        return Check(name="clone3", ok=False, value="absent", why=why, next=next_step)
    if release < (5, 7):
        why = "before Linux 5.7 a process cannot be born in a cgroup: agents join it after birth"
        return Check(name="clone3", ok=False, value="no cgroup", why=why, next="Nothing must be done.")
    return Check(name="clone3", ok=True, value="born in the cgroup")


def _exit_of_others() -> Check:
    fd = os.pidfd_open(os.getpid())
    try:
        fcntl.ioctl(fd, _PIDFD_GET_INFO, bytearray(64))
    except OSError:
        why = "the exit code of an agent that outlived both guard and init stays unknown"
        return Check(name="exit codes", ok=True, value="of own descendants", why=why, next="Linux 6.15 knows more.")
    finally:
        os.close(fd)
    return Check(name="exit codes", ok=True, value="of all agents")


def _cgroups(plan: cgroups.CgroupPlan) -> Check:
    held = [name for name in cgroups.LIMITING if name in plan.controllers]
    value = f"{plan.kind}: " + (f"{', '.join(held)} limits hold" if held else "no limit holds")
    missing = [name for name in cgroups.LIMITING if name not in held]
    if not missing:
        return Check(name="cgroups", ok=True, value=value)
    return Check(name="cgroups", ok=False, value=value, why=plan.why, next=holding.next_step())


def _leases(plan: cgroups.CgroupPlan) -> Check:
    ok, value, why, next_step = holding.leases(plan)
    return Check(name="leases", ok=ok, value=value, why=why, next=next_step)


def _swap() -> Check:
    return Check(name="swap", ok=True, value=holding.swap())


def _overcommit() -> Check:
    ok, value, why, next_step = holding.overcommit()
    return Check(name="overcommit", ok=ok, value=value, why=why, next=next_step)


def _user() -> Check:
    if os.geteuid() == 0:
        if processes.capability(processes.CAP_SYS_RESOURCE):
            return Check(name="user", ok=True, value="root: agents run as users of their own")
        why = "CAP_SYS_RESOURCE is missing (a container): oom_score_adj and hard limits can only be tightened"
        return Check(name="user", ok=True, value="root, restricted", why=why)
    me = users.resolve("doctor", None, (), Path("/"))
    why = "agents run as the same user and can reach each other's files and sockets"
    return Check(name="user", ok=True, value=me.name, why=why, next="Start as root to give each agent its own user.")


def _systemd() -> Check:
    if not os.path.isdir("/run/systemd/system"):
        why = "nobody starts Holdfast after a reboot but what you set up yourself"
        next_step = "Start `holdfast up` from what starts services here."
        return Check(name="systemd", ok=True, value="not running", why=why, next=next_step)
    if os.geteuid() == 0:
        return Check(name="systemd", ok=True, value="running")
    me = users.resolve("doctor", None, (), Path("/")).name
    if os.path.exists(f"/var/lib/systemd/linger/{me}"):
        return Check(name="systemd", ok=True, value="running, linger is on")
    why = "without linger systemd ends your processes, Holdfast included, when you log out"
    return Check(name="systemd", ok=False, value="running, no linger", why=why, next="loginctl enable-linger")


def _disk(home: Home) -> Check:
    place = home.path
    while not place.exists():
        place = place.parent
    room = disks.room(place)
    free = f"{size(room.free_bytes)} free"
    problem = disks.why_unwritable(place) if place == home.path else None
    if problem or room.read_only:
        why = f"{place} cannot be written: {problem or 'it is mounted read-only'}"
        return Check(name="disk", ok=False, value=free, why=why, next="Make it writable or choose another --home.")
    if room.free_bytes < limits.DISK_LOW_BYTES or 0 <= room.free_files < limits.DISK_LOW_FILES:
        why = f"little room is left in {place} ({room.free_files} more files): logs and post-mortems will be cut"
        return Check(name="disk", ok=False, value=free, why=why, next="Free space there.")
    return Check(name="disk", ok=True, value=free)


def _pressure() -> Check:
    found = pressure.read(0.0)
    if found.cpu_some_us is None:
        why = "the kernel has no PSI: a starved machine is told by its queue of runnable tasks alone"
        return Check(
            name="pressure", ok=True, value="by load", why=why, next="Boot with psi=1 where it is switched off."
        )
    return Check(name="pressure", ok=True, value="by PSI")


def _nofile() -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough_for = (hard - limits.NOFILE_OWN) // limits.NOFILE_PER_AGENT
    value = f"{hard} (enough for about {max(0, enough_for)} agents)"
    if enough_for >= limits.NOFILE_AGENTS_EXPECTED:
        return Check(name="open files", ok=True, value=value)
    why = "Holdfast keeps a few files open for each agent"
    return Check(name="open files", ok=False, value=value, why=why, next="Raise the hard limit: `ulimit -Hn 65536`.")


def _clock() -> Check:
    """adjtimex only reads when its modes are 0."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    offset = ctypes.sizeof(ctypes.c_long) * 5 if ctypes.sizeof(ctypes.c_long) == 8 else 20
    status = ctypes.c_int.from_buffer(buffer, offset).value
    if state < 0:
        return Check(name="clock", ok=True, value="unknown", why="the kernel does not tell whether it is synchronized")
    if status & _STA_UNSYNC:
        why = "times in the ledger may be wrong; deadlines are not affected"
        return Check(name="clock", ok=False, value="not synchronized", why=why, next="Run chrony or systemd-timesyncd.")
    return Check(name="clock", ok=True, value="synchronized")
