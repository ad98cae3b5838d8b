"""A keeper that comes up is in a hurry: until it holds memory nobody does, and init lets all go 4 s after the last one.

As root, init lets it begin as favoured as itself. On a machine with twenty busy programs on each core that is the
difference between one second and ten. Invariant: what the keeper starts later is never favoured. Called when the
semaphore begins.
"""

from __future__ import annotations

import contextlib
import os


def over() -> None:
    """From now on it is one among all programs, with all its threads. Idempotent; never raises."""
    with contextlib.suppress(OSError):
        for thread in map(int, os.listdir("/proc/self/task")):
            if os.getpriority(os.PRIO_PROCESS, thread) < 0:
                os.setpriority(os.PRIO_PROCESS, thread, 0)
        with open("/proc/self/autogroup", "w") as file:  # where each session is weighed as one
            file.write("0")
