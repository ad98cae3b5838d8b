"""Who calls an agent, seen without touching it: its sockets, what waits in their queues, and who is at the other end.

Invariants: reading changes nothing and connects to nothing; connections of Holdfast itself are never taken for
somebody's; where sockets cannot be seen (another network namespace) nothing is claimed. The kernel's socket diagnosis
is asked, since it tells the listen queue; /proc/net where it is not there. Rules are pure. Called by sleeping.py.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from holdfast import limits
from holdfast.evidence.sockets import split
from holdfast.node import processes

ESTABLISHED, CLOSE_WAIT, LISTEN = 1, 8, 10
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST, _DUMP = 0x1, 0x300
_DONE, _ERROR = 3, 2
_HEAD = struct.Struct("=IHHII")
_TCP = struct.Struct("=4B2H16s16s3I5I")
_UNIX = struct.Struct("=4BI2I")
_UNIX_RQLEN, _SHOW_RQLEN = 4, 0x10
_BYTES_READ, _WAIT_S = 262_144, 0.2
_SOCKET = re.compile(r"socket:\[(\d+)\]")
_MAPPED = b"\0" * 10 + b"\xff\xff"

End = tuple[bytes, int]  # address (16 bytes, IPv4 mapped), port


class Tcp(NamedTuple):
    """One socket. `unread`: bytes; of a listener: connections that nobody took yet. `inode` 0: not taken yet."""

    inode: int
    state: int
    local: End
    remote: End
    unread: int
    family: int


class Calls(NamedTuple):
    """What was seen of one agent's sockets. `visible` False: nothing is known.

    `inbound`: connections to its ports that are not ours, taken or waiting; `outbound`: those it made itself.
    """

    visible: bool = False
    inbound: int = 0
    outbound: int = 0
    listens: tuple[Tcp, ...] = ()


class Table:
    """The kernel's list of TCP sockets of this network namespace, and queues of single Unix sockets."""

    def __init__(self) -> None:
        self._line: socket.socket | None = None

    def read(self, *states: int) -> list[Tcp]:
        """All sockets in one of these states; [] where nobody tells."""
        with contextlib.suppress(OSError):
            mask = sum(1 << state for state in states)
            return [*self._dump(socket.AF_INET, mask), *self._dump(socket.AF_INET6, mask)]
        self.close()
        return [one for one in _from_proc() if one.state in states]

    def unix_queue(self, inode: int) -> int | None:
        """What waits in a Unix socket: connections of a listener, else bytes. None: it is gone, or nobody tells."""
        body = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, inode, _SHOW_RQLEN, *(0xFFFFFFFF,) * 2)
        with contextlib.suppress(OSError):
            for kind, message in split(self._ask(body, _REQUEST)):
                if kind == _SOCK_DIAG_BY_FAMILY and len(message) >= _UNIX.size:
                    return _rqlen(message[_UNIX.size :])
        return None

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _ask(self, body: bytes, flags: int) -> bytes:
        if self._line is None:
            self._line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG)
            self._line.settimeout(_WAIT_S)
        self._line.send(_HEAD.pack(_HEAD.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, 1, 0) + body)
        return self._line.recv(_BYTES_READ)

    def _dump(self, family: int, mask: int) -> list[Tcp]:
        """Raises OSError also for an answer that breaks off."""
        found: list[Tcp] = []
        data = self._ask(struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 0, mask), _REQUEST | _DUMP)
        read = 0
        while True:
            for kind, message in split(data):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError("the kernel does not tell its sockets")
                if len(message) >= _TCP.size:
                    found.append(_tcp(message))
            read += len(data)
            if not data or read > limits.SOCKETS_READ_MAX_BYTES or self._line is None:
                raise OSError("too many sockets")
            data = self._line.recv(_BYTES_READ)


def _tcp(message: bytes) -> Tcp:
    family, state, _, _, sport, dport, local, remote, _, _, _, _, unread, _, _, inode = _TCP.unpack_from(message)
    here, there = _whole(family, local), _whole(family, remote)
    return Tcp(inode, state, (here, socket.ntohs(sport)), (there, socket.ntohs(dport)), unread, family)


def _whole(family: int, raw: bytes) -> bytes:
    return _MAPPED + raw[:4] if family == socket.AF_INET else raw


def _rqlen(attributes: bytes) -> int | None:
    at = 0
    while at + 8 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if length < 4:
            return None
        if kind == _UNIX_RQLEN:
            return int(struct.unpack_from("=I", attributes, at + 4)[0])
        at += (length + 3) & ~3
    return None


# --- /proc, where the kernel's diagnosis is not there -----------------------------------------------------------------
def _from_proc() -> list[Tcp]:
    found: list[Tcp] = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with contextlib.suppress(OSError):
            found += parse(Path("/proc/net", name).read_text(), family)
    return found


def parse(table: str, family: int) -> list[Tcp]:
    """The rows of /proc/net/tcp or tcp6."""
    found = []
    for row in table.splitlines()[1:]:
        fields = row.split()
        if len(fields) > 9:
            unread = int(fields[4].rpartition(":")[2], 16)
            ends = _end(fields[1], family), _end(fields[2], family)
            found.append(Tcp(int(fields[9]), int(fields[3], 16), *ends, unread, family))
    return found


def _end(text: str, family: int) -> End:
    address, _, port = text.partition(":")
    words = bytes.fromhex(address)
    raw = b"".join(struct.pack(">I", *struct.unpack_from("=I", words, at)) for at in range(0, len(words), 4))
    return _whole(family, raw), int(port, 16)


# --- whose sockets ----------------------------------------------------------------------------------------------------
def held_by(pids: Iterable[int]) -> frozenset[int]:
    """Inodes of all sockets that these processes hold, as far as they may be looked into."""
    found: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if match := _SOCKET.fullmatch(os.readlink(entry.path)):
                        found.add(int(match[1]))
    return frozenset(found)


def ours(passing: frozenset[int]) -> frozenset[int]:
    """Sockets of Holdfast's own probes and of those who run them for us: descendants of this process.

    `passing`: those over which we only hand somebody else's connection on.
    """
    return held_by({os.getpid(), *(each.pid for each in processes.tree(os.getpid()))}) - passing


def calls(table: Iterable[Tcp], own: frozenset[int], ours: frozenset[int]) -> Calls:
    """Who talks to an agent that holds the sockets `own`; connections to a holder of `ours` (Holdfast) do not count."""
    rows = list(table)
    listens = tuple(one for one in rows if one.state == LISTEN and one.inode in own)
    ports = {one.local[1] for one in listens}
    mine = {one.local for one in rows if one.inode in ours}
    inbound = outbound = 0
    for one in rows:
        if one.state == LISTEN or one.remote in mine:
            continue
        if one.local[1] in ports and (one.inode in own or one.inode == 0):
            inbound += 1
        elif one.inode in own:
            outbound += 1
    visible = bool(listens) or any(one.inode in own for one in rows)
    waiting = sum(one.unread for one in listens)
    return Calls(visible, max(inbound, waiting), outbound, listens)


def stirred(before: Mapping[int, Tcp], table: Iterable[Tcp]) -> str:
    """What came for a frozen agent since its sockets were as in `before` (by inode); "" nothing.

    A table without established connections tells of listen queues alone.
    """
    for one in table:
        was = before.get(one.inode)
        if was is None:
            continue
        if one.state == LISTEN:
            if one.unread:
                return "somebody connects"
        elif one.unread > was.unread:
            return "data came for it"
        elif one.state != was.state:
            return "a connection of it was closed"
    return ""


def text_of(end: End) -> str:
    """HOST:PORT as people write it."""
    address = ipaddress.IPv6Address(end[0])
    mapped = address.ipv4_mapped
    return f"{mapped}:{end[1]}" if mapped else f"[{address}]:{end[1]}"


def addresses(listens: Iterable[Tcp]) -> tuple[str, ...]:
    """Where it listens, each once."""
    return tuple(dict.fromkeys(text_of(one.local) for one in listens))


def listened_on(pids: Iterable[int]) -> tuple[str, ...]:
    """Where these processes listen now. Reads /proc."""
    own, table = held_by(pids), Table()
    found = addresses(one for one in table.read(LISTEN) if one.inode in own)
    table.close()
    return found
