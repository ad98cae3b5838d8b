"""The FIFOs of agents' output, held open by init: the kernel forgets what is in one that nobody has open.

Invariant: what an agent printed last waits for the next logger, though agent and logger died and the agent was
forgotten. Called by supervise.py, by adopt.py and at each beat of the loop.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios

from holdfast.init.agent import Agent


class HeldOutput:
    """Of agents that are known the descriptor is in `fifo_fd`, of forgotten ones it is here."""

    def __init__(self) -> None:
        self._unread: list[int] = []

    def hold(self, agent: Agent) -> None:
        """From now on, or anew after its FIFO was made anew. Never raises."""
        try:
            fd = os.open(agent.definition.fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return  # not there yet, or descriptors are short: then the agent and the logger hold it
        if agent.fifo_fd >= 0:
            os.close(agent.fifo_fd)
        agent.fifo_fd = fd

    def outlive(self, agent: Agent) -> None:
        """It is forgotten; what it printed is not."""
        if agent.fifo_fd >= 0:
            self._unread.append(agent.fifo_fd)

    def let_go(self) -> None:
        """Close the FIFOs of forgotten agents once a logger has read them empty."""
        for fd in self._unread[:]:
            if not int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder):
                self._unread.remove(fd)
                os.close(fd)
