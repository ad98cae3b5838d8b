"""What comes for agents that are frozen: looked for often and cheaply, in the kernel's own lists.

Invariants: a connection in the listen queue of a frozen agent is seen within limits.SLEEP_WATCH_S and a bit; the look
never takes more than limits.SLEEP_WATCH_SHARE of a core, however many sockets the machine has; nobody frozen, no
wake-up. Called by sleeping.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from holdfast import limits
from holdfast.keeper.density import sockets
from holdfast.keeper.density.sockets import CLOSE_WAIT, ESTABLISHED, LISTEN, Tcp, ours


class Frozen(NamedTuple):
    """The sockets of one agent, by inode, as they were when it was frozen."""

    tcp: dict[int, Tcp]
    unix: dict[int, int]  # what waited in them


class FrozenWatch:
    """`stirred(name, why)` when something came for it."""

    def __init__(self, stirred: Callable[[str, str], None]) -> None:
        self._stirred = stirred
        self._table = sockets.Table()
        self._frozen: dict[str, Frozen] = {}  # by agent
        self._timer: asyncio.TimerHandle | None = None
        self._whole_mono = 0.0  # when connections were looked at beside listen queues
        self._whole_took_s = 0.0

    def watches(self, name: str) -> bool:
        return name in self._frozen

    def add(self, name: str, pids: Iterable[int], passing: frozenset[int]) -> bool:
        """It stands still now; what already waits in a listen queue counts as come. True: somebody is connected."""
        own = sockets.held_by(pids)
        rows = self._table.read(LISTEN, ESTABLISHED, CLOSE_WAIT)
        tcp = {one.inode: one._replace(unread=0) if one.state == LISTEN else one for one in rows if one.inode in own}
        others = sorted(own - tcp.keys())[: limits.SLEEP_UNIX_SOCKETS_MAX]
        queues = {inode: self._table.unix_queue(inode) for inode in others}
        unix = {inode: waiting for inode, waiting in queues.items() if waiting is not None}
        self._frozen[name] = Frozen(tcp, unix)
        self._set(0.0)
        rows = [one for one in rows if one.state != CLOSE_WAIT]  # our own connections were just closed
        return sockets.calls(rows, own, frozenset()).inbound > 0 and sockets.calls(rows, own, ours(passing)).inbound > 0

    def drop(self, name: str) -> None:
        self._frozen.pop(name, None)

    def waits(self, name: str) -> bool:
        """Whether a connection still waits to be taken."""
        frozen = self._frozen.get(name)
        known = frozen.tcp if frozen is not None else {}
        return any(one.unread for one in self._table.read(LISTEN) if one.inode in known)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._table.close()

    def _set(self, after_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(after_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._frozen:
            self._table.close()
            return
        began = time.monotonic()
        whole = began - self._whole_mono >= max(limits.SLEEP_WATCH_ALL_S, self._whole_took_s / limits.SLEEP_WATCH_SHARE)
        rows = self._table.read(LISTEN, ESTABLISHED, CLOSE_WAIT) if whole else self._table.read(LISTEN)
        found = {name: sockets.stirred(one.tcp, rows) for name, one in self._frozen.items()}
        for name, one in self._frozen.items():
            if not found[name] and any((self._table.unix_queue(inode) or 0) > was for inode, was in one.unix.items()):
                found[name] = "somebody connects to its socket"
        took_s = time.monotonic() - began
        if whole:
            self._whole_mono, self._whole_took_s = began, took_s
            took_s = 0.0
        self._set(max(limits.SLEEP_WATCH_S, took_s / limits.SLEEP_WATCH_SHARE))
        for name, why in found.items():
            if why:
                self._stirred(name, why)
