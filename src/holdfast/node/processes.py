"""Facts about processes, read from /proc. Every function survives a process that dies meanwhile.

For slow paths (evidence, port owners, doctor): hot paths keep files open instead (health.usage). `environ` and the like
may block on a stuck process, so nothing here that reads them belongs into the control loop.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TCP_LISTEN = "0A"
CAP_SYS_RESOURCE = 24
_SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")


class Stat(NamedTuple):
    """The part of /proc/PID/stat that is used. `starttime`: field 22, clock ticks since boot."""

    pid: int
    comm: str
    state: str
    ppid: int
    cpu_s: float  # own and of children waited for
    starttime: int
    rss_bytes: int


class Listener(NamedTuple):
    """A process that listens on a port."""

    pid: int
    comm: str


def stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    return parse_stat(text)


def parse_stat(text: str) -> Stat:
    """The command name may hold blanks and brackets: the last `)` ends it."""
    opening, closing = text.index("("), text.rindex(")")
    rest = text[closing + 2 :].split()
    return Stat(
        pid=int(text[:opening]),
        comm=text[opening + 1 : closing],
        state=rest[0],
        ppid=int(rest[1]),
        cpu_s=sum(int(ticks) for ticks in rest[11:15]) / _TICKS_PER_S,
        starttime=int(rest[19]),
        rss_bytes=int(rest[21]) * _PAGE_BYTES,
    )


def starttime(pid: int) -> int | None:
    found = stat(pid)
    return None if found is None else found.starttime


def comm(pid: int) -> str:
    """The short name, "?" when the process is gone."""
    found = stat(pid)
    return "?" if found is None else found.comm


def cpu_s(pid: int) -> float | None:
    found = stat(pid)
    return None if found is None else found.cpu_s


def pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def tree(root: int) -> list[Stat]:
    """The process and all its descendants by parentage, as far as they live; [] when it is gone."""
    everyone = [found for pid in pids() if (found := stat(pid)) is not None]
    children: dict[int, list[Stat]] = {}
    for each in everyone:
        children.setdefault(each.ppid, []).append(each)
    queue = [each for each in everyone if each.pid == root]
    for each in queue:  # grows while it is walked
        queue.extend(children.get(each.pid, ()))
    return queue


def ancestors(pid: int) -> set[int]:
    """The process and everything above it."""
    found: set[int] = set()
    while pid > 0 and pid not in found:
        found.add(pid)
        above = stat(pid)
        pid = above.ppid if above else 0
    return found


def listeners_of(port: int, within: Iterable[int] | None = None) -> list[Listener]:
    """Who listens on a TCP port: of the given processes, or of all that may be looked into.

    An ordinary user cannot look into other users' processes, so [] does not prove that nobody listens: see
    `is_listened_on`.
    """
    inodes = {inode for found_port, inode in _listening() if found_port == port}
    if not inodes:
        return []
    found = []
    for pid in pids() if within is None else within:
        if not inodes.isdisjoint(_socket_inodes(pid)):
            found.append(Listener(pid, comm(pid)))
    return found


def listening_ports(pid: int) -> set[int]:
    """TCP ports the process listens on, as far as it may be looked into."""
    inodes = _socket_inodes(pid)
    return {port for port, inode in _listening() if inode in inodes} if inodes else set()


def is_listened_on(port: int) -> bool:
    """Whether anybody in this network namespace listens on the TCP port."""
    return any(found_port == port for found_port, _ in _listening())


def _listening() -> Iterator[tuple[int, int]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            text = Path(table).read_text()
        except OSError:
            continue
        yield from parse_listening(text)


def parse_listening(table: str) -> Iterator[tuple[int, int]]:
    """(port, inode) of every listening row of /proc/net/tcp or tcp6."""
    for row in table.splitlines()[1:]:
        fields = row.split()
        if len(fields) > 9 and fields[3] == _TCP_LISTEN:
            yield int(fields[1].rpartition(":")[2], 16), int(fields[9])


def _socket_inodes(pid: int) -> set[int]:
    found: set[int] = set()
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                try:
                    match = _SOCKET_LINK.fullmatch(os.readlink(entry.path))
                except OSError:
                    continue
                if match:
                    found.add(int(match[1]))
    except OSError:
        pass
    return found


def capability(bit: int) -> bool:
    """Whether this process holds a capability effectively, e.g. 24 for CAP_SYS_RESOURCE."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> bit & 1)
    return False
