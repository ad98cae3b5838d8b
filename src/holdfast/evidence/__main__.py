"""`python -m holdfast.evidence`: one order as JSON on standard input, one bundle per line on standard output.

Invariant: ends at the order's time even when /proc or a tool hangs, and takes its tools along. Started by the keeper
as leader of a process group of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import msgspec

from holdfast.evidence.collect import collect
from holdfast.evidence.model import Order


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
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
