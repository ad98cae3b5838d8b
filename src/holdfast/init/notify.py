"""Beats: sd_notify datagrams, received by init alone. Who sent one is known from the kernel, not from its text.

Invariant: the socket is always drained, since an undrained one blocks the senders; what was said is gathered per
instance and told to the keeper a few times a second, or less often where a beat follows the other and none is waited
for. Nothing that counts is lost by gathering: the order of different cycles, a trigger, READY and STOPPING stay. What
an instance last said is kept and told once more to every keeper that comes. What an agent can send costs bounded time
and memory, whatever it sends. Called by main.py's loop.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.init import procfs

DATAGRAM_MAX_BYTES = 8192
BURST = 1000  # datagrams taken per turn, so that a flood cannot starve the rest
DRAIN_MAX_S = 0.02  # nor one of datagrams that take long to read
ANCESTORS_MAX = 32
FLUSH_S = 0.25  # the keeper hears of news at most this much later
HOLD_MAX_S = 4.0  # beats that come more often than anybody waits for are told together, so much later at most
HOLD_PART = 15  # of the seconds between two beats that are due
RUSH_S = 0.05  # datagrams closer together than this are worth waiting for the next ones
DOZE_MAX_S = 0.02  # not looking at the socket for this long saves a wake-up for each datagram
DOZE_MIN_S = 0.001  # what epoll can wait for
DOZE_FILL = 0.7  # of the kernel's queue: datagrams do not come evenly
SENDERS_MAX = 8192  # remembered pids
SENDER_TRUSTED_S = 1.0  # a pid is not given again so soon; later its start time is compared
CYCLES_KEPT = 16  # different ones between two flushes; with more, some of them advanced for certain
VALUE_MAX_CHARS = 512
KEY_MAX_CHARS = 64
LINES_MAX = 64  # of a datagram
FIELDS_MAX = 64  # different ones that an instance may say in its life; there are about ten
QUEUE_LENGTH = "/proc/sys/net/unix/max_dgram_qlen"
# Of these the first one said between two flushes stays, whatever is said after it.
_STICKY = {"READY": "1", "STOPPING": "1", "WATCHDOG": "trigger"}
_ROUTINE = frozenset({"WATCHDOG", "X_CYCLE", "X_TOKENS", "X_QUALITY", "STATUS"})
_STATES = frozenset({"X_DEGRADED"})  # as good as unsaid while it stays as it is; idleness has its order among cycles

Sender = tuple[str, int]
"""Agent and epoch of the instance it belongs to."""


@dataclass(slots=True)
class Told:
    """What one instance said since the last flush, or in all its life."""

    epoch: int
    mono: float = 0.0  # of the last datagram
    busy_mono: float = 0.0  # of the last X_BUSY_USEC: it counts from its receipt
    cycle_mono: float = 0.0  # of the last X_CYCLE that was another one; 0: none was
    advanced: bool = False  # it holds a beat that may count: another cycle, or there are no cycles
    slot: int = 0  # when it is to be told, in FLUSH_S
    beat_told_mono: float = 0.0  # when a beat of it was told last,
    advance_told_mono: float = 0.0  # and one that may count
    fields: dict[str, str] = field(default_factory=dict)
    cycles: list[str] = field(default_factory=list)  # different X_CYCLEs in their order

    def add(self, said: dict[str, str], now: float) -> None:
        fields = self.fields
        for key, value in said.items():
            if key in _STICKY and fields.get(key) == _STICKY[key] and value != _STICKY[key]:
                continue
            if key in fields or len(fields) < FIELDS_MAX:
                fields[key] = value
        self.mono = now
        if "X_BUSY_USEC" in said:
            self.busy_mono = now
        cycle = said.get("X_CYCLE")
        cycles = self.cycles
        if cycle is not None and (not cycles or cycles[-1] != cycle):
            if len(cycles) < CYCLES_KEPT:
                cycles.append(cycle)
            else:
                cycles[-1] = cycle

    def message(self, name: str, *, held: bool) -> dict[str, Any]:
        """As protocol.py describes it."""
        told: dict[str, Any] = {"ev": "notify", "agent": name, "epoch": self.epoch, "mono": round(self.mono, 3)}
        if "X_BUSY_USEC" in self.fields:
            told["busy_mono"] = round(self.busy_mono, 3)
        if self.cycle_mono:
            told["cycle_mono"] = round(self.cycle_mono, 3)
        if len(self.cycles) > 1 and not held:
            told["cycles"] = self.cycles
        if held:
            told["held"] = True
        told["fields"] = self.fields
        return told


class Receiver:
    """The socket, who sends, and what was said."""

    def __init__(
        self,
        sock: socket.socket,
        by_pid: dict[int, str],
        epoch_of: Callable[[str], int],
        home_id: str,
        beat_of: Callable[[str], float] = lambda name: 0.0,
    ) -> None:
        """`beat_of(agent)`: seconds between two beats that are due of it; 0 tells all at once."""
        self.sock = sock
        self._beat_of = beat_of
        self._by_pid, self._epoch_of, self._home_id = by_pid, epoch_of, home_id
        self.identity = os.fstat(sock.fileno()).st_ino  # another one: whoever had connected to the former is deaf
        self.fresh: dict[str, Told] = {}
        self.held: dict[str, Told] = {}
        self._slots: dict[int, list[str]] = {}  # when who of `fresh` is to be told
        self.flush_due = float("inf")
        self.doze_until = float("inf")  # inf: the loop waits for the socket itself
        self._drained_mono = 0.0
        self._rate = 0.0  # datagrams a second
        self._senders: dict[int, tuple[Sender | None, int, float]] = {}  # pid -> whose, start time, known since
        self._buffer = bytearray(DATAGRAM_MAX_BYTES)
        self._view = memoryview(self._buffer)
        self._room = socket.CMSG_SPACE(12)  # for credentials alone: descriptors that come along stay with the kernel
        self._queue = queue_length()

    def drain(self, now: float) -> None:
        """All waiting datagrams; those of senders that belong to no agent are dropped.

        The kernel closes what descriptors came along, which a socket that lingers holds up for as long as its owner
        set: until a signal comes. The caller has one sent, see main.py.
        """
        count, until = 0, time.monotonic() + DRAIN_MAX_S
        late = False
        while count < BURST and not late:
            try:
                size, ancillary, _, _ = self.sock.recvmsg_into([self._buffer], self._room, socket.MSG_DONTWAIT)
            except OSError:
                break
            count += 1
            pid = 0
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid = struct.unpack_from("i", data)[0]
            sender = self._sender(pid, now) if pid else None
            if sender is not None and size:
                self._take(sender, bytes(self._view[:size]), now)
            late = time.monotonic() > until
        if not count:
            self.doze_until = float("inf")
            return
        self._rate = rate_of(self._rate, count, now - self._drained_mono)
        doze_s = doze_for(self._rate, self._queue) if count < self._queue and not late else 0.0
        self.doze_until = now + doze_s if doze_s else float("inf")
        self._drained_mono = now

    def _take(self, sender: Sender, datagram: bytes, now: float) -> None:
        name, epoch = sender
        said = fields_of(datagram)
        if not said:
            return
        told = self.fresh.get(name)
        if told is None or told.epoch != epoch:
            told = self.fresh[name] = Told(epoch)
        held = self.held.get(name)
        if held is None or held.epoch != epoch:
            told.advanced, slot = True, int(now / FLUSH_S) + 1
        else:
            slot = self._slot(name, said, told, held, now)
        if not told.slot or slot < told.slot:
            told.slot = slot
            self._slots.setdefault(slot, []).append(name)
            self.flush_due = min(self.flush_due, slot * FLUSH_S)
        told.add(said, now)

    def _slot(self, name: str, said: dict[str, str], told: Told, held: Told, now: float) -> int:
        """When this is to be told. Routine waits a little after the last time that its like was told; what may have
        been waited for, the first beat that counts after a while, never does."""
        cycle, fields = said.get("X_CYCLE"), held.fields
        if cycle is not None and cycle != (told.cycles[-1] if told.cycles else fields.get("X_CYCLE")):
            told.advanced, told.cycle_mono = True, now
            since = held.advance_told_mono
        elif cycle is None and "X_CYCLE" not in fields and "WATCHDOG" in said:
            told.advanced = True
            since = held.advance_told_mono
        else:
            since = held.beat_told_mono
        soon = int(now / FLUSH_S) + 1
        for key, value in said.items():
            if key not in _ROUTINE and (key not in _STATES or fields.get(key) != value):
                return soon
        if said.get("WATCHDOG", "1") != "1":
            return soon
        return max(soon, int((since + min(HOLD_MAX_S, self._beat_of(name) / HOLD_PART)) / FLUSH_S) + 1)

    def take(self, now: float) -> list[dict[str, Any]]:
        """What is to be told now, as messages. It is held as well, for the next keeper."""
        messages = []
        current = now / FLUSH_S
        for slot in sorted(slot for slot in self._slots if slot <= current):
            for name in self._slots.pop(slot):
                told = self.fresh.get(name)
                if told is None or told.slot != slot:
                    continue  # told before
                del self.fresh[name]
                self._keep(name, told, now)
                messages.append(told.message(name, held=False))
        self.flush_due = min(self._slots) * FLUSH_S if self._slots else float("inf")
        return messages

    def _keep(self, name: str, told: Told, now: float) -> None:
        """It is told now: part of what the instance said in all its life."""
        held = self.held.get(name)
        if held is None or held.epoch != told.epoch:
            held = self.held[name] = Told(told.epoch)
        held.add(told.fields, told.mono)
        held.busy_mono = told.busy_mono or held.busy_mono
        held.fields.pop("EXTEND_TIMEOUT_USEC", None)  # meant for that moment only
        if "WATCHDOG" in told.fields or "X_CYCLE" in told.fields:
            held.beat_told_mono = now
        if told.advanced:
            held.advance_told_mono = now

    def all_held(self, epochs: dict[str, int]) -> list[dict[str, Any]]:
        """What the instances that are known (agent -> epoch) said so far, for a keeper that just came."""
        for name, told in self.fresh.items():
            self._keep(name, told, told.mono)
        self.fresh, self._slots, self.flush_due = {}, {}, float("inf")
        self.held = {name: told for name, told in self.held.items() if epochs.get(name) == told.epoch}
        return [told.message(name, held=True) for name, told in self.held.items()]

    def _sender(self, pid: int, now: float) -> Sender | None:
        """Main processes are known for certain; other pids are remembered, with their start time."""
        name = self._by_pid.get(pid)
        if name is not None:
            return name, self._epoch_of(name)
        sender, starttime, since = self._senders.get(pid, (None, 0, float("-inf")))
        if now - since < SENDER_TRUSTED_S:
            return sender
        process = procfs.read(pid)
        if (
            process is None
            or process.starttime != starttime
            or sender is None
            or self._epoch_of(sender[0]) != sender[1]
        ):
            sender = find_agent(pid, self._by_pid, self._epoch_of, self._home_id)
        if len(self._senders) >= SENDERS_MAX:
            self._senders.clear()
        self._senders[pid] = (sender, process.starttime if process is not None else 0, now)
        return sender


def rate_of(before: float, count: int, since_s: float) -> float:
    """Datagrams a second, over about the last RUSH_S, after `count` more came in `since_s`."""
    since_s = max(since_s, 1e-6)
    return before + min(1.0, since_s / RUSH_S) * (count / since_s - before)


def doze_for(rate: float, queue: int) -> float:
    """How long not to look at the socket, in seconds; 0: not at all.

    Where datagrams come thick, looking a little later serves many by one wake-up; never so late that the kernel's queue
    fills and many senders would have to wait.
    """
    if rate * RUSH_S < 1:
        return 0.0
    doze_s = min(DOZE_MAX_S, queue * DOZE_FILL / rate)
    return doze_s if doze_s >= DOZE_MIN_S else 0.0


def fields_of(datagram: bytes) -> dict[str, str]:
    """KEY=VALUE lines, the first LINES_MAX; anything else is skipped, and what is too long is cut."""
    fields: dict[str, str] = {}
    for line in datagram.decode("utf-8", "replace").split("\n", LINES_MAX)[:LINES_MAX]:
        key, equals, value = line.partition("=")
        if equals and len(key) <= KEY_MAX_CHARS and key.isidentifier():
            fields[key] = value if len(value) <= VALUE_MAX_CHARS else value[:VALUE_MAX_CHARS]
    return fields


def queue_length() -> int:
    """How many datagrams the kernel keeps for us before senders have to wait."""
    try:
        with open(QUEUE_LENGTH) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 10  # the kernel's own default


def find_agent(pid: int, by_pid: dict[int, str], epoch_of: Callable[[str], int], home_id: str) -> Sender | None:
    """The sender's instance: a main process, a descendant of one, or who has the instance id in its environment."""
    current = pid
    for _ in range(ANCESTORS_MAX):
        if current in by_pid:
            return by_pid[current], epoch_of(by_pid[current])
        process = procfs.read(current)
        if process is None or process.ppid <= 1:
            break
        current = process.ppid
    home, _, rest = (procfs.instance_of(pid) or "").partition(":")
    name, _, epoch = rest.rpartition(":")
    if home != home_id or not name or not epoch.isdigit() or epoch_of(name) != int(epoch):
        return None
    return name, int(epoch)
