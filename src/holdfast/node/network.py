"""How much goes over the network: of the machine, and of processes that have a network of their own.

Invariant: nothing is attributed that the kernel does not count. It counts by interface, and so by agent only where an
agent has a network namespace of its own; elsewhere the answer is None. Loopback is left out. Called by the keeper.
"""

from __future__ import annotations

import os
from typing import NamedTuple


class Traffic(NamedTuple):
    """Totals since the interfaces came up."""

    mono: float
    received_bytes: int
    sent_bytes: int


def own_namespace(pid: int) -> bool:
    """Whether a process has a network other than ours; False also when that may not be known."""
    try:
        theirs, ours = os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/self/ns/net")
    except OSError:
        return False
    return (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino)


def read_traffic(pid: int | None, mono: float) -> Traffic | None:
    """Totals of the network that a process lives in; None for our own when it is gone. `pid` None: ours."""
    try:
        with open(f"/proc/{'self' if pid is None else pid}/net/dev") as file:
            return parse_traffic(file.read(), mono)
    except (OSError, ValueError):
        return None


def parse_traffic(text: str, mono: float) -> Traffic:
    """From the text of /proc/net/dev."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        fields = numbers.split()
        if name.strip() != "lo" and len(fields) >= 9:
            received, sent = received + int(fields[0]), sent + int(fields[8])
    return Traffic(mono, received, sent)


def rates(before: Traffic | None, now: Traffic | None) -> tuple[float, float] | None:
    """Bytes each second, received and sent; None when the two do not compare (an interface went away)."""
    if before is None or now is None or now.mono <= before.mono:
        return None
    received, sent = now.received_bytes - before.received_bytes, now.sent_bytes - before.sent_bytes
    if received < 0 or sent < 0:
        return None
    elapsed = now.mono - before.mono
    return round(received / elapsed, 1), round(sent / elapsed, 1)


def loopback_is_up() -> bool | None:
    """Whether 127.0.0.1 can be reached at all; None when that is unknown."""
    try:
        with open("/sys/class/net/lo/flags") as file:
            return bool(int(file.read(), 16) & 1)
    except (OSError, ValueError):
        return None
