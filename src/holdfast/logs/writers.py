"""Who has a file open for writing, and whether they append.

Invariants: the kernel's word (a lease) comes before what is found in /proc, where a process may hide; a lease is held
for no longer than it takes to be given, and nobody who opens the file waits for us. Called by capping.py and
own_caps.py.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterable

from holdfast.logs.capped import Opener

Identity = tuple[int, int]  # device and inode


def is_written(fd: int) -> bool | None:
    """Whether somebody has the file of `fd` open for writing; None where the file system gives no leases.

    `fd` is open for reading only; the file is our own, or we are root.
    """
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # tells that somebody waits for the lease: it is given back already
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def find(wanted: dict[Identity, str], uids: Iterable[int]) -> dict[Identity, list[Opener]]:
    """Those among the processes of `uids` who can write to the files, given with the last part of their names.

    What cannot be looked into is left out; our own process too.
    """
    found: dict[Identity, list[Opener]] = {identity: [] for identity in wanted}
    names, owners = frozenset(wanted.values()), frozenset(uids)
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            if os.stat(f"/proc/{entry}").st_uid not in owners:
                continue
            for number in os.listdir(f"/proc/{entry}/fd"):
                _look(int(entry), number, names, found)
        except OSError:
            continue  # it ended, or it is not ours to look into
    return found


def _look(pid: int, number: str, names: frozenset[str], found: dict[Identity, list[Opener]]) -> None:
    try:
        # By name first: a stat may wait for a file system that does not answer.
        if os.path.basename(os.readlink(f"/proc/{pid}/fd/{number}")) not in names:
            return
        status = os.stat(f"/proc/{pid}/fd/{number}")
        openers = found.get((status.st_dev, status.st_ino))
        if openers is None:
            return
        with open(f"/proc/{pid}/fdinfo/{number}") as file:
            flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
        with open(f"/proc/{pid}/comm") as file:
            name = file.read().strip()
    except (OSError, StopIteration, ValueError):
        return
    if flags & os.O_ACCMODE != os.O_RDONLY:
        openers.append(Opener(pid, name, bool(flags & os.O_APPEND)))
