"""Connections to init: the keeper's, and the command line's when there is no keeper. JSON lines both ways.

Only our own user and root are let in. Writes never block init: what does not fit waits in memory up to a bound,
beyond which the peer is dropped (a keeper reconnects and gets the unacked events again).
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any

from holdfast.init.protocol import MESSAGE_MAX_BYTES

OUTGOING_MAX_BYTES = 64 * 1024 * 1024
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Connection:
    """One peer."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.open = True
        self.blocked = False  # the last flush left something

    def fileno(self) -> int:
        return self.sock.fileno()

    def receive(self) -> list[dict[str, Any]]:
        """Whole messages that have arrived; closes on end of file, on an oversized or unreadable message."""
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self.incoming += data
        if not data or len(self.incoming) > MESSAGE_MAX_BYTES:
            self.close()
            return []
        *lines, rest = bytes(self.incoming).split(b"\n")
        self.incoming = bytearray(rest)
        try:
            messages = [json.loads(line) for line in lines if line]
        except ValueError:
            self.close()
            return []
        return [message for message in messages if isinstance(message, dict)]

    def send(self, message: dict[str, Any]) -> None:
        if not self.open:
            return
        self.outgoing += _encode(message).encode() + b"\n"
        if len(self.outgoing) > OUTGOING_MAX_BYTES:
            self.close()

    def flush(self) -> bool:
        """Write what fits. True while something is left."""
        while self.open and self.outgoing:
            try:
                sent = self.sock.send(memoryview(self.outgoing)[: 1 << 20])
            except BlockingIOError:
                return True
            except OSError:
                self.close()
                return False
            del self.outgoing[:sent]
        return False

    def close(self) -> None:
        if self.open:
            self.open = False
            self.sock.close()


def listen(path: str) -> socket.socket:
    """A fresh socket at `path`; a stale one is replaced, since the caller holds the home's lock."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    os.chmod(path, 0o600)
    sock.listen(16)
    sock.setblocking(False)
    return sock


def accept(listener: socket.socket) -> Connection | None:
    """None when nobody waits or the peer is not allowed in."""
    try:
        sock, _ = listener.accept()
    except OSError:
        return None
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (0, os.getuid()):
        sock.close()
        return None
    return Connection(sock)
