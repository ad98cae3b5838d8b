"""Who an agent talks to: TCP and UDP sockets with their peers, and since when a peer is silent.

The kernel's socket diagnosis (netlink) is read instead of /proc/net/tcp, because only it tells when data last came.
It shows our own network namespace. Decoding is pure. Called by collect.py.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

from holdfast import limits
from holdfast.evidence.model import Socket

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_INFO = 2  # INET_DIAG_INFO
_LISTEN = 10
_TIME_WAIT = 6
_STATES = (
    "", "established", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "time-wait", "closed", "close-wait",
    "last-ack", "listening", "closing",
)  # fmt: skip
_LAST_DATA_RECV_AT = 52  # offset of tcpi_last_data_recv (ms) in struct tcp_info
_MESSAGE = struct.Struct("=BBBB HH16s16sIII IIIII".replace(" ", ""))
_BYTES_READ = 65_536
_WAIT_S = 0.2


def table() -> dict[int, Socket]:
    """All sockets of this network namespace by inode; as far as the kernel answers, {} when it does not."""
    found: dict[int, Socket] = {}
    for kind, protocol in (("tcp", socket.IPPROTO_TCP), ("udp", socket.IPPROTO_UDP)):
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                for inode, each in _ask(kind, protocol, family):
                    found[inode] = each
            except OSError:
                continue
    return found


def _ask(kind: str, protocol: int, family: int) -> Iterator[tuple[int, Socket]]:
    states = 0xFFF & ~(1 << _TIME_WAIT)
    body = struct.pack("=BBBxI48x", family, protocol, 1 << (_INFO - 1), states)
    head = struct.pack("=IHHII", 16 + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as line:
        line.settimeout(_WAIT_S)
        line.send(head + body)
        read = 0
        while read < limits.SOCKETS_READ_MAX_BYTES:
            data = line.recv(_BYTES_READ)
            read += len(data)
            for message_type, message in split(data):
                if message_type in (_DONE, _ERROR):
                    return
                decoded = decode(kind, message)
                if decoded is not None:
                    yield decoded


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Netlink messages of one datagram: (type, payload)."""
    at = 0
    while at + 16 <= len(data):
        length, message_type = struct.unpack_from("=IH", data, at)
        if length < 16 or at + length > len(data):
            return
        yield message_type, data[at + 16 : at + length]
        at += (length + 3) & ~3


def decode(kind: str, message: bytes) -> tuple[int, Socket] | None:
    """(inode, socket) of one answer; None when it is too short to be one."""
    if len(message) < _MESSAGE.size:
        return None
    family, state, _, _, *rest = _MESSAGE.unpack_from(message)
    here, there, local, remote = (socket.ntohs(rest[0]), socket.ntohs(rest[1]), rest[2], rest[3])
    _, unread, _, _, inode = rest[7:12]
    listening = kind == "tcp" and state == _LISTEN
    silent = None if listening or kind != "tcp" else _silent_s(message[_MESSAGE.size :])
    return inode, Socket(
        fd=-1,
        kind=kind,
        local=_address(family, local, here),
        remote="" if there == 0 else _address(family, remote, there),
        state=_STATES[state] if kind == "tcp" and state < len(_STATES) else "",
        silent_s=silent,
        unread_bytes=0 if listening else unread,
    )


def _silent_s(attributes: bytes) -> float | None:
    at = 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if length < 4:
            return None
        if kind == _INFO and length >= 4 + _LAST_DATA_RECV_AT + 4:
            (milliseconds,) = struct.unpack_from("=I", attributes, at + 4 + _LAST_DATA_RECV_AT)
            return float(milliseconds) / 1000
        at += (length + 3) & ~3
    return None


def _address(family: int, raw: bytes, port: int) -> str:
    if family == socket.AF_INET:
        return f"{ipaddress.IPv4Address(raw[:4])}:{port}"
    address = ipaddress.IPv6Address(raw)
    mapped = address.ipv4_mapped
    return f"{mapped}:{port}" if mapped else f"[{address}]:{port}"
