"""init: parent of everything below it. Spawns, reaps, restarts at once, receives beats; standard library only.

The loop does, in this order each turn: take in what happened, let supervise.py change states, write the journal,
ask the spawner for births, tell the keeper. Killed at any point, the next init finds the world by the journal.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import sys
import time

from holdfast.init import adopt, becoming, kernel, launch, notify, procfs
from holdfast.init.guard import BEAT_S, BEATS_MISSED
from holdfast.init.journal import Journal, find_directory
from holdfast.init.link import Connection, accept, listen
from holdfast.init.pausing import Pausing
from holdfast.init.requests import Requests
from holdfast.init.services import Services
from holdfast.init.spawner_line import SpawnerLine
from holdfast.init.supervise import Supervisor

BACKLOG_WAIT_S = 0.3  # for guard to hand over the exits it collected
NUDGE_S = 0.002  # how long a datagram may hold us up that brought a socket which lingers


class Init:
    """The loop and its descriptors; decisions on agents are in supervise.py, on requests in requests.py."""

    def __init__(self, options: launch.Options) -> None:
        self.options = options
        self.agents_nofile = options.nofile
        self.since_mono = time.monotonic()
        self.epoll = select.epoll()
        self.home_id = _read(f"{options.home}/home.id").strip()
        self.journal = Journal(find_directory(options.home, self.home_id))
        self.supervisor = Supervisor(self.journal, self.home_id, self._watch_pidfd, self._forget_pidfd)
        self.services = Services(options.home, self.supervisor)
        self.pausing = Pausing(self.supervisor)
        self.spawner = SpawnerLine(options.home, options.run, self.supervisor, self.pausing, self.epoll)
        self.requests = Requests(self)
        self.guard = socket.socket(fileno=options.guard_fd)
        self.guard.setblocking(False)
        self.guard_incoming = b""
        self.guard_missed = 0
        self.notify = socket.socket(fileno=options.notify_fd)
        told_of = self.supervisor
        self.beats = notify.Receiver(
            self.notify, told_of.processes.by_pid, told_of.epoch_of, self.home_id, told_of.beat_of
        )
        self.listener = listen(f"{options.run}/init.sock")
        self.connections: dict[int, Connection] = {}
        self.pidfds: dict[int, str] = {}
        self.backlog_ended = False
        self.wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for fd in (self.guard.fileno(), self.notify.fileno(), self.listener.fileno(), self.wake_read):
            os.set_inheritable(fd, False)
            self.epoll.register(fd, select.EPOLLIN)
        os.set_inheritable(options.lock_fd, False)
        self.next_beat = time.monotonic() + BEAT_S
        self.running = True

    # --- start ---------------------------------------------------------------------------------------------
    def begin(self) -> None:
        """Remember, take over what lives, and write a fresh journal."""
        records = self.journal.load()
        same_boot = adopt.remember(self.supervisor, records)
        self._await_backlog()
        if not records:
            adopt.adopt_strangers(self.supervisor)
        elif not same_boot:
            adopt.after_reboot(self.supervisor)
        self.supervisor.replaced = self.options.restarts > 0
        adopt.take_over(self.supervisor)
        self.pausing.begin()
        if self.options.restarts > 0 and same_boot:
            self.requests.mode = self.supervisor.mode  # a shutdown under way goes on; a new guard begins anew
        self.supervisor.mode = self.requests.mode
        self.supervisor.service_restarts["init"] = self.options.restarts
        self.supervisor.service_restarts["guard"] = self.options.guard_restarts
        self.journal.begin(self.supervisor.snapshot())
        self.supervisor.records, self.supervisor.changed = [], {}
        if self.requests.mode == "run":
            self.services.begin()

    def _await_backlog(self) -> None:
        deadline = time.monotonic() + BACKLOG_WAIT_S
        while not self.backlog_ended and (left := deadline - time.monotonic()) > 0:
            if select.select([self.guard], [], [], left)[0]:
                self._from_guard()

    # --- the loop ------------------------------------------------------------------------------------------
    def serve(self) -> None:
        while self.running:
            if self.spawner.fd < 0:
                self.spawner.start()
            self._settle()
            due = min(self.next_beat, self.supervisor.next_due() or self.next_beat, self.services.next_due())
            due = min(due, self.pausing.due_mono)
            if self.spawner.fd < 0:
                due = min(due, time.monotonic() + 0.005)
            for fd, mask in self._wait(due):
                self._on_ready(fd, mask)
            now = time.monotonic()
            self.supervisor.on_time(now)
            self.services.on_time(now)
            self.pausing.on_time(now)
            self._beats_on_time(now)
            if now >= self.next_beat:
                self.next_beat = now + BEAT_S
                self._beat()
            self.requests.continue_shutdown()
        self._settle()  # what was answered last still reaches its peer

    def _wait(self, due: float) -> list[tuple[int, int]]:
        """What is ready; nothing at `due`, or when the keeper is to hear of beats.

        Beats alone change no agent: they are taken in here, without a whole turn for each.
        """
        while True:
            now = time.monotonic()
            if self.beats.doze_until <= now:
                self._doze_over(now)
            until = min(due, self.beats.flush_due)
            events = self.epoll.poll(max(0.0, min(until, self.beats.doze_until) - now))
            if any(fd != self.notify.fileno() for fd, _ in events):
                return events
            if events:
                self._beats()
            if time.monotonic() >= until:
                return []

    def _on_ready(self, fd: int, mask: int) -> None:
        if fd == self.wake_read:
            self._on_signals(os.read(fd, 4096))
        elif fd == self.spawner.fd:
            self.spawner.hear()
        elif fd in self.pidfds:
            self.supervisor.processes.look_anew()
            self.supervisor.codes.orphan_exited(self.pidfds[fd])
        elif fd == self.notify.fileno():
            self._beats()
        elif fd == self.guard.fileno():
            self._from_guard()
        elif fd == self.listener.fileno():
            connection = accept(self.listener)
            if connection is not None:
                self.connections[connection.fileno()] = connection
                self.epoll.register(connection, select.EPOLLIN)
        elif fd in self.connections:
            self._from_peer(fd)

    def _on_signals(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self.running = False  # guard starts the next init at once; everything is written down
        self.spawner.hear()  # who was born is known before it is said that it died
        first = _reap()
        if first is None:
            return
        self.supervisor.processes.look_anew()  # what it left behind is below us only now
        self._child_ended(*first)
        self._settle()  # its successor is asked for before the kernel looks through all children once more
        dead: list[tuple[int, int]] = []
        while (found := _reap()) is not None:
            dead.append(found)
        # Reap all first: the list of orphans looked up below then holds what every one of them left behind.
        self.supervisor.processes.look_anew()
        for pid, status in dead:
            self._child_ended(pid, status)

    def _child_ended(self, pid: int, status: int) -> None:
        if pid != self.supervisor.processes.spawner_pid:
            self.supervisor.reaped(pid, status)
        else:
            self.spawner.died()

    def _from_guard(self) -> None:
        try:
            data = self.guard.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._become_guard()
        self.guard_missed = 0
        self.supervisor.processes.look_anew()  # whoever guard tells of died before this
        self.guard_incoming += data
        *lines, self.guard_incoming = self.guard_incoming.split(b"\n")
        for line in lines:
            words = line.split()
            if line == b"backlog-end":
                self.backlog_ended = True
            elif line == b"leave":
                self.requests.leave()
            elif len(words) == 4 and words[0] == b"exit":
                self.supervisor.codes.guard_told(int(words[1]), int(words[2]), int(words[3]))

    def _become_guard(self) -> None:
        """Guard died."""
        self.supervisor.settle()
        becoming.guard(self.options, self.notify.fileno())

    def _from_peer(self, fd: int) -> None:
        connection = self.connections[fd]
        for message in connection.receive():
            self.requests.handle(connection, message)
        if not connection.open:
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        connection = self.connections.pop(fd, None)
        if connection is not None:
            self.requests.gone(connection)

    def _settle(self) -> None:
        self.supervisor.settle()
        self.spawner.ask()
        self.supervisor.settle()
        self.requests.tell_keeper()
        for fd, connection in list(self.connections.items()):
            if connection.open and (connection.outgoing or connection.blocked):
                connection.blocked = connection.flush()
                if connection.open:
                    self.epoll.modify(fd, select.EPOLLIN | (select.EPOLLOUT if connection.blocked else 0))
            if not connection.open:
                self._drop(fd)

    def _beats(self) -> None:
        """What agents said; while they speak much, the socket is looked at by time."""
        self._drain(time.monotonic())
        if self.beats.doze_until != float("inf"):
            self.epoll.modify(self.notify, 0)

    def _drain(self, now: float) -> None:
        """A signal ends whatever wait the kernel may do for us meanwhile."""
        signal.setitimer(signal.ITIMER_REAL, NUDGE_S, NUDGE_S)
        try:
            self.beats.drain(now)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _beats_on_time(self, now: float) -> None:
        if self.beats.flush_due <= now:
            self.requests.forward_beats(self.beats.take(now))

    def _doze_over(self, now: float) -> None:
        self._drain(now)
        if self.beats.doze_until == float("inf"):
            self.epoll.modify(self.notify, select.EPOLLIN)

    def _beat(self) -> None:
        """Every BEAT_S, the only periodic wake-up: tell guard and keeper we live, look after both."""
        try:
            self.guard.send(b"beat\n")
        except OSError:
            pass
        self.guard_missed += 1
        parent = procfs.read(os.getppid())
        if parent is not None and parent.state == "T":
            _continue(parent.pid)
        if self.guard_missed > BEATS_MISSED and os.getppid() > 1:
            os.kill(os.getppid(), signal.SIGKILL)  # we take its place when the socket closes
            self.guard_missed = 0
        self.services.look_after()
        self.supervisor.output.let_go()
        self.requests.beat()

    # --- descriptors of adopted processes ------------------------------------------------------------------
    def _watch_pidfd(self, fd: int, name: str) -> None:
        self.pidfds[fd] = name
        self.epoll.register(fd, select.EPOLLIN)

    def _forget_pidfd(self, fd: int) -> None:
        if self.pidfds.pop(fd, None) is not None:
            self.epoll.unregister(fd)
        os.close(fd)

    # --- end and upgrade -----------------------------------------------------------------------------------
    def say_goodbye(self) -> None:
        """Guard does not restart us after this."""
        self.supervisor.settle()
        self.guard.setblocking(True)
        try:
            self.guard.send(b"bye\n")
        except OSError:
            pass
        if self.requests.mode == "shutdown":
            self.journal.shrink(self.supervisor.snapshot())
        self.running = False

    def reexec(self) -> str | None:
        """Become the code that is installed now, after it has proven as a child that it can read the journal.

        Returns the reason when it could not; otherwise does not return.
        """
        self.supervisor.settle()
        why = becoming.why_not(self.options)
        if why is None:
            os.kill(self.supervisor.processes.spawner_pid, signal.SIGKILL)
            becoming.next_init(self.options, self.notify.fileno(), self.guard.fileno())
        return why


def _reap() -> tuple[int, int] | None:
    """One dead child and its wait status; None when there is none."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _continue(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except (ProcessLookupError, PermissionError):
        pass


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def check(home: str) -> int:
    """`--check`: can this code read that journal? Run by the former code before it becomes us."""
    journal = Journal(find_directory(home, _read(f"{home}/home.id").strip()))
    supervisor = Supervisor(journal, "check", lambda *_: None, lambda *_: None)
    adopt.remember(supervisor, journal.load())
    print("ready", len(supervisor.agents))
    return 0


def main() -> None:
    options = launch.Options(sys.argv[1:])
    if options.check:
        sys.exit(check(options.home))
    kernel.name_process("holdfast-init")
    kernel.become_subreaper()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    options.nofile = soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    init = Init(options)
    init.begin()
    os.kill(os.getpid(), signal.SIGCHLD)  # children that died while we were being executed
    init.serve()


if __name__ == "__main__":
    main()
