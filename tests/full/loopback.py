"""Loopback plumbing of the full tests: one JSON request, and a network of its own without any outside.

Invariant: nothing here ever talks to another machine. Used by the agents' home writers and by conftest.py.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import urllib.error
import urllib.request
from typing import Any

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def request_json(
    url: str, body: dict[str, Any] | None, headers: dict[str, str], timeout_s: float
) -> tuple[int, dict[str, Any]]:
    """GET, or POST of `body`: status and JSON answer. Raises OSError when nobody answers in time."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the environment
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return response.status, _object(response.read())
    except urllib.error.HTTPError as error:
        return error.code, _object(error.read())


def leave_the_network() -> None:
    """Put this process and all its later children into a network with nothing but loopback. Needs root (OSError)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"text": text.decode(errors="replace")}
