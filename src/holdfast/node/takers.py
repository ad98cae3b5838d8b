"""What each process of the machine takes: CPU time, memory, disk. One walk of /proc, for the seldom case that asks.

Invariant: survives processes that die meanwhile, and leaves out what may not be read. Costs about 0.1 ms a process:
belongs into a thread, and only while somebody suffers. Called by keeper.density.neighbours.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from holdfast.node import processes

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Taker(NamedTuple):
    """One process. `cpu_s`: its own, of no child. `groups`: its cgroups, as paths. `io_bytes` None: not to be known.

    `started`: in ticks since boot; with the pid it is the process, whatever it executes. `read_mono`: when it was read.
    """

    pid: int
    ppid: int
    comm: str
    uid: int
    cpu_s: float
    memory_bytes: int
    io_bytes: int | None = None
    groups: tuple[str, ...] = ()
    started: int = 0
    read_mono: float = 0.0


def read(*, with_io: bool) -> list[Taker]:
    """Everybody who may be looked at. `with_io`: also what it read from disks and wrote to them."""
    found = []
    for pid in processes.pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                text = file.read().decode("utf-8", "replace")
                uid = os.fstat(file.fileno()).st_uid
            with open(f"/proc/{pid}/cgroup") as file:
                groups = parse_groups(file.read())
        except OSError:
            continue
        found.append(parse(text, uid, groups, _io_bytes(pid) if with_io else None))
    return found


def parse(text: str, uid: int, groups: tuple[str, ...], io_bytes: int | None) -> Taker:
    """From the text of /proc/PID/stat; the command's name may hold blanks and brackets."""
    opening, closing = text.index("("), text.rindex(")")
    rest = text[closing + 2 :].split()
    return Taker(
        pid=int(text[:opening]),
        ppid=int(rest[1]),
        comm=text[opening + 1 : closing],
        uid=uid,
        cpu_s=(int(rest[11]) + int(rest[12])) / _TICKS_PER_S,
        memory_bytes=int(rest[21]) * _PAGE_BYTES,
        io_bytes=io_bytes,
        groups=groups,
        started=int(rest[19]),
        read_mono=time.monotonic(),
    )


def parse_groups(text: str) -> tuple[str, ...]:
    """The paths of /proc/PID/cgroup, each once, without the root."""
    paths = (line.split(":", 2)[2] for line in text.splitlines() if line.count(":") >= 2)
    return tuple(dict.fromkeys(path for path in paths if path != "/"))


def _io_bytes(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/io") as file:
            fields = dict(line.split(": ", 1) for line in file.read().splitlines() if ": " in line)
        return int(fields["read_bytes"]) + int(fields["write_bytes"])
    except (OSError, ValueError, KeyError):
        return None
