"""`python -m holdfast.evidence`: one order as JSON on standard input, one bundle per line on standard output.

Invariant: ends at the order's time even when /proc or a tool hangs, and takes its tools along; whom a tool had stopped
goes on, also when the keeper is gone. Started by the keeper as leader of a process group of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import msgspec

from holdfast.evidence import stacks
from holdfast.evidence.collect import collect
from holdfast.evidence.model import Order

_TOOLS_END_S = 0.5


def main() -> int:
    """0 done, 2 the order could not be read."""
    try:
        order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    except msgspec.DecodeError as error:
        print(f"the order could not be read: {error}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGALRM, lambda *_: _end())
    signal.setitimer(signal.ITIMER_REAL, max(0.01, order.until_mono - time.monotonic()))
    try:
        collect(order, _hand)
    except BrokenPipeError:
        return 0  # the keeper is gone: the next one looks again
    return 0


def _hand(line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[os.write(1, view) :]


def _end() -> None:
    if os.getpgid(0) == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        until = time.monotonic() + _TOOLS_END_S
        while stacks.attached and _has_tools() and time.monotonic() < until:
            time.sleep(0.005)
        for pid in stacks.attached:
            stacks.go_on(pid)
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _has_tools() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
