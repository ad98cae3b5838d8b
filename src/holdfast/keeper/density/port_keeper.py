"""Holds the ports of agents that were stopped because they were idle, so that whoever calls them wakes them.

Invariants: a held port is free again before the agent is started; a connection that came while it slept is handed on
when it answers, without a byte lost, or closed when its time is over; their number and their time are bounded. After
a keeper's death the next one takes the ports again. Called by sleeping.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Sequence

from holdfast import limits

_PIECE_BYTES = 65_536


class Port:
    """One agent's ports and who called them."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = tuple(addresses)
        self.listening: dict[str, socket.socket] = {}
        self.resting: set[socket.socket] = set()  # of these: nobody more can be taken for the moment
        self.callers: list[tuple[socket.socket, float]] = []  # with the time until which they are held
        self.failed: dict[str, str] = {}  # addresses that cannot be had, and why
        self.taken: set[str] = set()  # by somebody else, which was said; it is tried on
        self.since_mono = asyncio.get_running_loop().time()
        self.released = False  # the agent is being started


class PortKeeper:
    """`called(name)`: somebody connected. `failed(name, words)`: an address cannot be held; said once."""

    def __init__(self, called: Callable[[str], None], failed: Callable[[str, str], None]) -> None:
        self._handing: set[asyncio.Task[None]] = set()
        self._passing: set[int] = set()  # inodes of our ends of what was handed on
        self._called = called
        self._failed = failed
        self._ports: dict[str, Port] = {}
        self._timer: asyncio.TimerHandle | None = None

    def passing(self) -> frozenset[int]:
        """Sockets of ours that lead to agents, with somebody else at the far end."""
        return frozenset(self._passing)

    def hold(self, name: str, addresses: Sequence[str]) -> None:
        """Listen there in its stead, as soon as its own sockets are gone. Idempotent."""
        port = self._ports.get(name)
        if port is None:
            port = self._ports[name] = Port(addresses)
        port.released = False
        self._take(name, port)

    def release(self, name: str) -> None:
        """The agent is about to be started: free its ports, keep who called. Idempotent."""
        port = self._ports.get(name)
        if port is None or port.released:
            return
        port.released = True
        for listener in port.listening.values():
            self._accept(name, port, listener, tell=False)  # who stands in the queue would be sent away
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        port.listening, port.resting = {}, set()

    def deliver(self, name: str) -> None:
        """The agent answers again: whoever called is handed on."""
        self.release(name)
        port = self._ports.pop(name, None)
        for caller, until_mono in port.callers if port is not None else ():
            task = asyncio.get_running_loop().create_task(self._hand_on(caller, until_mono))
            self._handing.add(task)
            task.add_done_callback(self._handing.discard)

    def give_up(self, name: str) -> None:
        """It is not to be called any more."""
        self.release(name)
        port = self._ports.pop(name, None)
        for caller, _ in port.callers if port is not None else ():
            caller.close()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for name in list(self._ports):
            self.give_up(name)
        for task in self._handing:
            task.cancel()

    # --- listening -----------------------------------------------------------------------------------------------
    def _take(self, name: str, port: Port) -> None:
        for address in port.addresses:
            if address in port.listening:
                continue
            try:
                listener = _listen(address, port.addresses)
            except OSError as error:
                self._not_had(name, port, address, error)
                continue
            port.listening[address] = listener
            asyncio.get_running_loop().add_reader(listener, self._accept, name, port, listener)
        self._look_again()

    def _not_had(self, name: str, port: Port, address: str, error: OSError) -> None:
        """Said once: from then on who calls there does not wake the agent."""
        why = error.strerror or str(error)
        if error.errno != errno.EADDRINUSE:
            known = address in port.failed
            port.failed[address] = why
        else:
            patient = asyncio.get_running_loop().time() < port.since_mono + limits.SLEEP_PORT_TAKEN_S
            known = patient or address in port.taken
            port.taken |= set() if patient else {address}
        if not known:
            self._failed(name, f"{address} cannot be held for it: {why}")

    def _look_again(self) -> None:
        """Addresses that are still taken, callers whose time is over, and listeners that rest."""
        if self._timer is None and any(
            port.callers
            or port.resting
            or (not port.released and len(port.listening) + len(port.failed) < len(port.addresses))
            for port in self._ports.values()
        ):
            self._timer = asyncio.get_running_loop().call_later(limits.SLEEP_PORT_TRY_S, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for name, port in list(self._ports.items()):
            for caller, _ in (late := [one for one in port.callers if one[1] <= now]):
                caller.close()
            port.callers = [one for one in port.callers if one not in late]
            if not port.released:
                self._take(name, port)
            if len(port.callers) < limits.SLEEP_CALLERS_MAX:
                for listener in port.resting:
                    asyncio.get_running_loop().add_reader(listener, self._accept, name, port, listener)
                port.resting = set()
        self._look_again()

    def _accept(self, name: str, port: Port, listener: socket.socket, *, tell: bool = True) -> None:
        until_mono = asyncio.get_running_loop().time() + limits.SLEEP_CALLER_HELD_S
        while len(port.callers) < limits.SLEEP_CALLERS_MAX:
            try:
                caller, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            except OSError:
                self._rest(port, listener)  # no descriptors left
                break
            caller.setblocking(False)
            port.callers.append((caller, until_mono))
        else:
            self._rest(port, listener)
        if tell and port.callers:
            self._look_again()
            self._called(name)

    def _rest(self, port: Port, listener: socket.socket) -> None:
        """More of them wait in the kernel's queue, and must not wake us for nothing meanwhile."""
        asyncio.get_running_loop().remove_reader(listener)
        port.resting.add(listener)
        self._look_again()

    # --- handing on ----------------------------------------------------------------------------------------------
    async def _hand_on(self, caller: socket.socket, until_mono: float) -> None:
        """Connect the caller with the agent, at the address that it called, until both are done."""
        loop = asyncio.get_running_loop()
        with caller:
            agent = None
            while agent is None and loop.time() < until_mono:
                agent = await _reach(caller)
                if agent is None:
                    await asyncio.sleep(limits.SLEEP_REACH_S)
            if agent is None:
                return
            inode = os.fstat(agent.fileno()).st_ino
            self._passing.add(inode)
            try:
                with agent:
                    await asyncio.gather(_pump(caller, agent), _pump(agent, caller))
            finally:
                self._passing.discard(inode)


def _listen(address: str, beside: Sequence[str]) -> socket.socket:
    """A listener on HOST:PORT. Raises OSError."""
    host, _, number = address.rpartition(":")
    host, port = host.strip("[]"), int(number)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # So that the agent can take the port while connections of ours to it are still open.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            alone = host == "::" and f"0.0.0.0:{port}" in beside
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(alone))
        listener.bind((host, port))
        listener.listen(limits.SLEEP_PORT_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


async def _reach(caller: socket.socket) -> socket.socket | None:
    """A connection to the address that was called: from loopback only if the caller came from there."""
    agent = socket.socket(caller.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        await asyncio.get_running_loop().sock_connect(agent, caller.getsockname())
    except OSError:
        agent.close()
        return None
    if agent.getsockname() == agent.getpeername():
        agent.close()  # nobody listened, and we met ourselves
        return None
    return agent


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Bytes from one to the other until there are no more; then the other is told so."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while piece := await loop.sock_recv(source, _PIECE_BYTES):
            await loop.sock_sendall(sink, piece)
        sink.shutdown(socket.SHUT_WR)
        return
    with contextlib.suppress(OSError):  # one side broke: neither is to wait for the other
        sink.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        source.shutdown(socket.SHUT_RDWR)
