"""A TCP port of loopback for a server that a test starts later: nobody else gets it in between.

Invariant: below the ports that the kernel hands out by itself, so no connection takes it by chance; and reserved among
all tests of this machine, whichever user runs them, by an abstract socket that is held until this process ends.
"""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST, _LAST = 20_000, 32_000  # where that range cannot be read; 32768 is its usual beginning
_held: list[socket.socket] = []


def free_port() -> int:
    """Free on 127.0.0.1, and on ::1 where there is one. Raises AssertionError when none was found."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(_FIRST, _below())
        if _reserve(port):
            return port
    raise AssertionError("no free port was found")


def _below() -> int:
    try:
        begin = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _LAST
    return min(_LAST, begin) if begin > _FIRST + 1000 else _LAST


def _reserve(port: int) -> bool:
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0holdfast-test-port-{port}")
        with socket.socket() as four:
            four.bind(("127.0.0.1", port))
        _try_six(port)
    except OSError:
        claim.close()
        return False
    _held.append(claim)
    return True


def _try_six(port: int) -> None:
    """A machine without IPv6 has nobody on ::1."""
    try:
        with socket.socket(socket.AF_INET6) as six:
            six.bind(("::1", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise
