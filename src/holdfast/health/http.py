"""The probe engine: HTTP GETs to a thousand agents by raw non-blocking sockets and one epoll.

It lives inside another loop: register `fileno()` for reading with `on_ready`, and call `on_time(now)` at or after
`next_deadline()`. It never blocks and never raises for anything an agent does; every accepted `ask` ends in exactly
one ProbeResult, or in none when it was cancelled by `forget` or by an ask for a newer instance.

The discount: silence counts against an agent (SLOW) only if we were there to hear it. When our own loop came late or
`host_starved` is set, the verdict is STARVED. Answers that wait in a socket are always read before time is called.

Used by the keeper's health loop. One connection per agent, kept alive and renewed every PROBE_CONNECTION_USES probes;
a kept connection that the server closed meanwhile is replaced once before there is a verdict.
"""

from __future__ import annotations

import errno
import heapq
import os
import select
import socket
import time
from collections.abc import Callable

from holdfast import limits
from holdfast.health import address, answer, body
from holdfast.health.model import ProbeResult, Verdict
from holdfast.spec.model import HttpProbe

_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_READ_BYTES = 65_536
_BATCH = 256  # events per call, so that one call stays well under the loop's patience
_DRAIN_TURNS = 16  # calls before time is called: 4,096 answers, more than can be open

_REFUSED = frozenset({errno.ECONNREFUSED, errno.ENOENT})
_NO_SUCH_WAY = frozenset({errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT})
_OUR_LACK = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})
_PENDING = frozenset({errno.EINPROGRESS, errno.EAGAIN, errno.EALREADY, errno.ENOTCONN})


class _Line:
    """The connection to one agent and the question on it."""

    __slots__ = (
        "address", "age_s", "agent", "asked", "connected", "fresh", "gate", "instance", "number", "open", "probe",
        "received", "refused", "sock", "target", "timeout_s", "uses",
    )  # fmt: skip

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.instance = 0
        self.sock: socket.socket | None = None
        self.address: address.Address | None = None
        self.target = 0  # index into address.targets
        self.refused = False  # one of the targets refused this question
        self.connected = False  # the request went out
        self.fresh = True  # this connection has not answered yet
        self.uses = 0
        self.open = False  # a question waits for its verdict
        self.number = 0  # of the question; makes old deadlines void
        self.received = b""
        self.asked = 0.0
        self.timeout_s = 0.0
        self.age_s = 0.0
        self.gate = False
        self.probe: HttpProbe | None = None


class ProbeEngine:
    """See the module. `on_result` may be called from inside `ask`, `on_ready` and `on_time`."""

    def __init__(self, on_result: Callable[[ProbeResult], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.host_starved = False  # set by the owner from node.pressure
        self._on_result = on_result
        self._clock = clock
        self._epoll = select.epoll()
        self._lines: dict[str, _Line] = {}
        self._by_fd: dict[int, _Line] = {}
        self._deadlines: list[tuple[float, int, _Line]] = []
        self._number = 0
        self._late_mono = float("-inf")  # last moment at which our own loop was found late
        self._late_s = 0.0

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        for line in self._lines.values():
            self._hang_up(line)
        self._lines.clear()
        self._epoll.close()

    def ask(
        self, agent: str, instance: int, probe: HttpProbe, timeout_s: float, age_s: float, gate: bool = False
    ) -> bool:
        """Ask once. False when a question to this instance is still open: nothing is done then.

        `age_s`: seconds since the instance was spawned. An ask for another instance cancels an open one.
        """
        line = self._lines.get(agent)
        if line is None:
            line = self._lines[agent] = _Line(agent)
        if line.instance != instance:
            self._hang_up(line)
            line.open = False
            line.instance, line.target = instance, 0
        elif line.open:
            return False
        self._number += 1
        line.open, line.number, line.probe, line.gate = True, self._number, probe, gate
        line.age_s, line.timeout_s, line.asked, line.refused = age_s, timeout_s, self._clock(), False
        try:
            wanted = address.parse(probe.url)
        except ValueError as error:
            self._hang_up(line)
            self._conclude(line, Verdict.FAILING, str(error))
            return True
        heapq.heappush(self._deadlines, (line.asked + timeout_s, line.number, line))
        if line.address is not wanted:
            if line.address is None or line.address.targets != wanted.targets:
                self._hang_up(line)
                line.target = 0
            line.address = wanted
        self._send(line)
        return True

    def forget(self, agent: str) -> None:
        """Drop the agent: connection closed, an open question cancelled."""
        line = self._lines.pop(agent, None)
        if line is not None:
            line.open = False
            self._hang_up(line)

    def next_deadline(self) -> float | None:
        """When `on_time` is wanted at the latest; None: nothing is open."""
        heap = self._deadlines
        while heap:
            _, number, line = heap[0]
            if line.open and line.number == number:
                return heap[0][0]
            heapq.heappop(heap)
        return None

    def on_time(self, now: float, late_s: float = 0.0) -> None:
        """Call time on questions without an answer. `late_s`: how late the owner's loop runs, if it measures that."""
        deadline = self.next_deadline()
        if deadline is not None:
            late_s = max(late_s, now - deadline)
        if late_s > limits.PROBE_OWN_LAG_S:
            self._late_mono, self._late_s = now, late_s
        if deadline is None or deadline > now:
            return
        for _ in range(_DRAIN_TURNS):
            if not self.on_ready():
                break
        heap = self._deadlines
        while heap and heap[0][0] <= now:
            _, number, line = heapq.heappop(heap)
            if line.open and line.number == number:
                self._hang_up(line)  # a late answer must never be taken for the next one
                self._conclude(line, *self._silence(line))

    def on_ready(self) -> int:
        """Handle what arrived; returns how many sockets had something."""
        events = self._epoll.poll(0, _BATCH)
        by_fd = self._by_fd
        for fd, _mask in events:
            line = by_fd.get(fd)
            if line is None:
                continue
            if line.connected or not line.open:
                self._receive(line)
            else:
                self._push(line)
        return len(events)

    # --- one question --------------------------------------------------------------------------------------------
    def _send(self, line: _Line) -> None:
        if line.sock is not None and line.uses >= limits.PROBE_CONNECTION_USES:
            self._hang_up(line)
        line.received = b""
        line.connected = False
        if line.sock is None:
            self._connect(line)
        else:
            line.uses += 1
            self._push(line)

    def _connect(self, line: _Line) -> None:
        """A fresh connection; on loopback it usually stands at once, so the request is tried at once."""
        assert line.address is not None
        while True:
            family, where = line.address.targets[line.target]
            try:
                sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            except OSError as error:
                code = error.errno or 0
                if self._try_next(line, code):
                    continue
                self._give_up(line, code)
                return
            line.sock, line.fresh, line.uses = sock, True, 1
            code = sock.connect_ex(where)
            if code in (0, errno.EINPROGRESS):
                break
            if code == errno.EAGAIN and line.address.port is None:
                return  # the backlog of a Unix socket is full: nobody accepts, and the deadline will say so
            self._hang_up(line)
            if not self._try_next(line, code):
                self._give_up(line, code)
                return
        self._by_fd[sock.fileno()] = line
        self._epoll.register(sock.fileno(), _EVENTS)
        self._push(line)

    def _push(self, line: _Line) -> None:
        """Write the request; when the connection does not stand yet, wait for epoll."""
        sock, wanted = line.sock, line.address
        assert sock is not None
        assert wanted is not None
        try:
            sent = sock.send(wanted.request, socket.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno not in _PENDING:
                self._broken(line, error.errno or 0)
            return
        if sent != len(wanted.request):
            self._broken(line, errno.EPIPE)
            return
        line.connected = True

    def _receive(self, line: _Line) -> None:
        assert line.sock is not None
        closed = False
        while True:
            try:
                data = line.sock.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                self._broken(line, error.errno or 0)
                return
            if not line.open:  # the server closed an idle connection, or talks unasked
                self._hang_up(line)
                return
            closed = not data
            line.received = line.received + data if line.received else data
            if closed or len(line.received) > limits.PROBE_BODY_MAX_BYTES + limits.PROBE_HEAD_MAX_BYTES:
                break
            if len(data) < _READ_BYTES and self._answered(line, False):
                return
        if line.open and line.sock is not None:
            if closed and not line.received and not line.fresh:
                self._afresh(line)
            else:
                self._answered(line, closed)

    def _answered(self, line: _Line, closed: bool) -> bool:
        """Conclude when the answer is complete or broken."""
        assert line.probe is not None
        try:
            found = answer.read(line.received, closed)
        except answer.BrokenAnswer as error:
            self._hang_up(line)
            self._conclude(line, Verdict.FAILING, str(error))
            return True
        if found is None:
            return False
        line.fresh = False
        line.received = b""
        if not found.reusable or closed:
            self._hang_up(line)
        verdict, detail = body.judge(line.probe, found, line.age_s + self._clock() - line.asked)
        self._conclude(line, verdict, detail)
        return True

    # --- what goes wrong -----------------------------------------------------------------------------------------
    def _broken(self, line: _Line, code: int) -> None:
        """The socket failed. A kept connection is replaced once; a refusal by one of several targets tries the next."""
        was_fresh, had_data = line.fresh, bool(line.received)
        self._hang_up(line)
        if not line.open:
            return
        if not was_fresh and not had_data:
            self._afresh(line)
        elif not line.connected and self._try_next(line, code):
            self._connect(line)
        else:
            self._give_up(line, code)

    def _afresh(self, line: _Line) -> None:
        self._hang_up(line)
        line.connected = False
        self._connect(line)

    def _try_next(self, line: _Line, code: int) -> bool:
        """Whether another address of the same name (localhost's ::1) is left to try; remembers the one in use."""
        assert line.address is not None
        line.refused = line.refused or code in _REFUSED
        if code not in _REFUSED and code not in _NO_SUCH_WAY:
            return False
        if line.target + 1 >= len(line.address.targets):
            line.target = 0
            return False
        line.target += 1
        return True

    def _give_up(self, line: _Line, code: int) -> None:
        if line.refused or code in _REFUSED:
            port = line.address.port if line.address else None
            where = f"port {port}" if port else "its socket"
            self._conclude(line, Verdict.REFUSED, f"nobody listens on {where}")
        elif code in _OUR_LACK or (code == errno.EADDRNOTAVAIL and self._is_ipv4(line)):
            self._conclude(line, Verdict.STARVED, f"Holdfast could not ask: {os.strerror(code)}")
        elif code in (errno.ECONNRESET, errno.EPIPE):
            self._conclude(line, Verdict.FAILING, "the connection was reset")
        else:
            self._conclude(line, Verdict.FAILING, f"connecting failed: {os.strerror(code)}")

    @staticmethod
    def _is_ipv4(line: _Line) -> bool:
        """For IPv4, EADDRNOTAVAIL means that our machine has no local port left."""
        return line.address is not None and line.address.targets[line.target][0] == socket.AF_INET

    def _silence(self, line: _Line) -> tuple[Verdict, str]:
        if line.asked <= self._late_mono:
            return Verdict.STARVED, f"Holdfast itself was {self._late_s:.1f} s late"
        if self.host_starved:
            return Verdict.STARVED, f"no answer in {line.timeout_s:g} s, on a starved machine"
        return Verdict.SLOW, f"no answer in {line.timeout_s:g} s"

    def _conclude(self, line: _Line, verdict: Verdict, detail: str) -> None:
        line.open = False
        self._on_result(
            ProbeResult(
                agent=line.agent,
                instance=line.instance,
                verdict=verdict,
                gate=line.gate,
                latency_s=self._clock() - line.asked,
                detail=detail,
            )
        )

    def _hang_up(self, line: _Line) -> None:
        if line.sock is not None:
            self._by_fd.pop(line.sock.fileno(), None)
            line.sock.close()  # closing takes it out of the epoll
            line.sock = None
        line.received = b""
