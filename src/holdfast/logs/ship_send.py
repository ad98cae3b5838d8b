"""Sending a batch of lines to one log server.

Invariants: `send` returns when the server has the batch, as far as the protocol can tell (HTTP: its answer; TCP: its
kernel acknowledged every byte; UDP: never known); headers, which are secrets, appear in no message.
Called by shipper.py.
"""

from __future__ import annotations

import fcntl
import http.client
import socket
import ssl
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from holdfast.logs import ship_forms as forms
from holdfast.logs.ship_forms import Shipped
from holdfast.spec.model import Shipping

TIMEOUT_S = 10.0
DEFAULT_PATH = {"loki": "/loki/api/v1/push", "otlp": "/v1/logs"}
SYSLOG_PORT = 514
RETRIED = frozenset({408, 425, 429})  # and everything from 500 on; other refusals would be the same again
_FORM = {"loki": forms.loki, "otlp": forms.otlp}


class RefusedForGood(Exception):
    """The server will never take this batch."""


class Sender:
    """One server. `send` raises OSError when it should be tried again, RefusedForGood when not."""

    def __init__(self, target: Shipping, host: str) -> None:
        self._target = target
        self._url = urlsplit(target.url)
        self._host = host
        self._socket: socket.socket | None = None

    def send(self, agent: str, labels: Mapping[str, str], lines: Sequence[Shipped]) -> None:
        if self._target.kind == "syslog":
            self._send_syslog([forms.syslog(agent, self._host, line) for line in lines])
        else:
            self._post(_FORM[self._target.kind](agent, self._host, labels, lines))

    def close(self) -> None:
        """Idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- HTTP ----------------------------------------------------------------------------------------------------
    def _post(self, body: bytes) -> None:
        url = self._url
        if url.hostname is None:
            raise RefusedForGood("the URL names no host")
        connection: http.client.HTTPConnection
        if url.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=TIMEOUT_S)
        path = _path(url, self._target.kind)
        try:
            headers = {"Content-Type": "application/json", "User-Agent": "holdfast", **self._target.headers}
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read(4096)
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(0, f"no usable answer: {type(error).__name__}") from error
        finally:
            connection.close()
        if 200 <= answer.status < 300:
            return
        if answer.status in RETRIED or answer.status >= 500:
            raise OSError(0, f"HTTP {answer.status}")
        raise RefusedForGood(f"HTTP {answer.status}")

    # --- syslog --------------------------------------------------------------------------------------------------
    def _send_syslog(self, messages: list[bytes]) -> None:
        try:
            connection = self._socket or self._connect()
            self._socket = connection
            if connection.type == socket.SOCK_DGRAM:
                for message in messages:
                    connection.send(forms.datagram(message))
            else:
                connection.sendall(forms.framed(messages))
                _wait_acknowledged(connection)
        except OSError:
            self.close()
            raise

    def _connect(self) -> socket.socket:
        url = self._url
        if url.scheme == "unix":
            return _connect_unix(url.path)
        if url.hostname is None:
            raise RefusedForGood("the URL names no host")
        address = (url.hostname, url.port or SYSLOG_PORT)
        if url.scheme == "tcp":
            connection = socket.create_connection(address, timeout=TIMEOUT_S)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return connection
        family, kind, protocol, _, resolved = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(TIMEOUT_S)
        connection.connect(resolved)
        return connection


def _connect_unix(path: str) -> socket.socket:
    """/dev/log is a datagram socket on most machines, a stream on some."""
    failed: OSError | None = None
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        connection = socket.socket(socket.AF_UNIX, kind)
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(path)
            return connection
        except OSError as error:
            connection.close()
            failed = error
    assert failed is not None
    raise failed


def _wait_acknowledged(connection: socket.socket) -> None:
    """Until the peer's kernel has every byte: what lies in ours is lost when the connection breaks."""
    deadline_mono = time.monotonic() + TIMEOUT_S
    while int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder):
        if time.monotonic() > deadline_mono:
            raise TimeoutError(110, "the server takes nothing more")
        time.sleep(0.002)
    connection.setblocking(False)
    try:
        if connection.recv(1024) == b"":
            raise ConnectionResetError(104, "the server closed the connection")
    except BlockingIOError:
        pass
    finally:
        connection.settimeout(TIMEOUT_S)


def _path(url: SplitResult, kind: str) -> str:
    path = url.path if url.path not in ("", "/") else DEFAULT_PATH[kind]
    return f"{path}?{url.query}" if url.query else path
