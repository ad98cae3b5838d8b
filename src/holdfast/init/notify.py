"""Beats: sd_notify datagrams, received by init alone. Who sent one is known from the kernel, not from its text.

The socket is always drained, since an undrained one blocks the senders. Fields are coalesced per agent: the last
value of each key counts.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable

from holdfast.init import procfs

DATAGRAM_MAX_BYTES = 8192
BURST = 1000  # datagrams taken per turn, so that a flood cannot starve the rest
ANCESTORS_MAX = 32


def fields_of(datagram: bytes) -> dict[str, str]:
    """KEY=VALUE lines; anything else is skipped."""
    fields: dict[str, str] = {}
    for line in datagram.decode("utf-8", "replace").split("\n"):
        key, equals, value = line.partition("=")
        if equals and key.isidentifier():
            fields[key] = value
    return fields


def receive(sock: socket.socket, agent_of: Callable[[int], str | None]) -> dict[str, dict[str, str]]:
    """All waiting datagrams as {agent: fields}; senders that belong to no agent are dropped."""
    told: dict[str, dict[str, str]] = {}
    for _ in range(BURST):
        try:
            datagram, ancillary, _, _ = sock.recvmsg(
                DATAGRAM_MAX_BYTES, socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4 * 16), socket.MSG_DONTWAIT
            )
        except OSError:
            break
        pid = 0
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid = struct.unpack("3i", data[:12])[0]
            elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                _close_all(data)
        agent = agent_of(pid) if pid else None
        if agent is not None:
            told.setdefault(agent, {}).update(fields_of(datagram))
    return told


def _close_all(data: bytes) -> None:
    """Descriptors that came along are not ours to keep."""
    for (fd,) in struct.iter_unpack("i", data[: len(data) // 4 * 4]):
        os.close(fd)


def find_agent(pid: int, by_pid: dict[int, str], home_id: str) -> str | None:
    """The sender's agent: its main process, an ancestor that is one, or the instance id in its environment."""
    current = pid
    for _ in range(ANCESTORS_MAX):
        if current in by_pid:
            return by_pid[current]
        process = procfs.read(current)
        if process is None or process.ppid <= 1:
            break
        current = process.ppid
    instance = procfs.instance_of(pid) or ""
    home, _, rest = instance.partition(":")
    return rest.rpartition(":")[0] or None if home == home_id else None
