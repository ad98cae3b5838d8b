"""guard: restarts init and collects orphans; nothing else.

It owns three things that must outlive init: the home's lock, the notify socket (agents connected to it fail for
good when it is made anew), and the exit codes of agents whose init died. Everything it reaps that is not init is
told to init as a line `exit PID STARTTIME WAITSTATUS`; lines wait here while there is no init.

When guard itself dies, init executes this module in its own place: it keeps the lock, the socket and its children,
and starts a new init below.
"""

from __future__ import annotations

import collections
import fcntl
import os
import select
import signal
import socket
import sys
import time

from holdfast.init import kernel, launch, procfs

BEAT_S = 2.0
BEATS_MISSED = 5  # counted in our own wake-ups, so that a sleeping machine makes nobody late
BACKLOG_MAX = 10_000  # exits kept while there is no init
QUICK_DEATH_S = 1.0  # an init that lives shorter waits a little before it comes back
RESTART_DELAY_MAX_S = 1.0
NICENESS = -10  # as root: under load the agent must still be back in milliseconds; newborns are set back to 0
OWNED_ALREADY = 3  # exit code: somebody else holds the home
EXIT_DOWN = 10  # exit code: a person asked for the end, so whoever started guard shall leave it at that


class Guard:
    """One process, one child."""

    def __init__(self, home: str, run: str, lock_fd: int, notify_fd: int, restarts: int) -> None:
        self.home, self.run = home, run
        self.lock_fd, self.notify_fd = lock_fd, notify_fd
        self.restarts = restarts  # how often a guard has been replaced, told to init
        self.init_restarts = 0
        self.init_pid = 0
        self.init_started = 0.0
        self.delay_s = 0.0
        self.link: socket.socket | None = None
        self.incoming = b""
        self.backlog: collections.deque[bytes] = collections.deque(maxlen=BACKLOG_MAX)
        self.history: collections.deque[bytes] = collections.deque(maxlen=BACKLOG_MAX)
        self.missed = 0
        self.leaving = False  # init said goodbye: its exit is the end
        self.told_to_leave = False  # by TERM: agents stay, and the next guard adopts them

    def start_init(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        if self.link is not None:
            self.link.close()
        self.link, self.incoming, self.missed = ours, b"", 0
        for fd in (self.lock_fd, self.notify_fd, theirs.fileno()):
            os.set_inheritable(fd, True)
        argv = launch.chosen_argv(
            self.home,
            "main",
            *("--home", self.home, "--run", self.run),
            *("--lock-fd", str(self.lock_fd), "--notify-fd", str(self.notify_fd)),
            *("--guard-fd", str(theirs.fileno()), "--restarts", str(self.init_restarts)),
            *("--guard-restarts", str(self.restarts)),
        )
        self.init_pid = os.posix_spawn(argv[0], argv, launch.environment(), setsigmask=[])
        theirs.close()
        os.set_inheritable(self.lock_fd, False)
        os.set_inheritable(self.notify_fd, False)
        self.init_started = time.monotonic()
        # All exits once more: what the former init had received may have died with it. Init looks up only those
        # it misses, by pid and start time.
        self.backlog.clear()
        self.backlog.extend(self.history)
        self.backlog.append(b"backlog-end\n")
        self.flush()

    def flush(self) -> None:
        while self.backlog and self.link is not None:
            try:
                sent = self.link.send(self.backlog[0])
            except BlockingIOError:
                return
            except OSError:
                return
            if sent < len(self.backlog[0]):
                self.backlog[0] = self.backlog[0][sent:]
                return
            self.backlog.popleft()

    def reap(self) -> None:
        """Collect every dead child; init is restarted, the rest is reported with its start time."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            process = procfs.read(dead.si_pid)
            _, status = os.waitpid(dead.si_pid, 0)
            if dead.si_pid == self.init_pid:
                self.init_pid = 0
                if not self.leaving:
                    self.schedule_restart()
                continue
            starttime = process.starttime if process else 0
            told = b"exit %d %d %d\n" % (dead.si_pid, starttime, status)
            self.history.append(told)
            self.backlog.append(told)

    def schedule_restart(self) -> None:
        quick = time.monotonic() - self.init_started < QUICK_DEATH_S
        self.delay_s = min(RESTART_DELAY_MAX_S, max(0.05, self.delay_s * 2)) if quick else 0.0
        self.init_restarts += 1

    def receive(self) -> None:
        assert self.link is not None
        try:
            data = self.link.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.link.close()
            self.link = None
            return
        self.missed = 0
        self.incoming += data
        *lines, self.incoming = self.incoming.split(b"\n")
        if b"bye" in lines:
            self.leaving = True

    def beat(self) -> None:
        """Send ours, count the missing ones; a silent init is continued first, then replaced."""
        self.backlog.append(b"beat\n")
        self.missed += 1
        process = procfs.read(self.init_pid) if self.init_pid else None
        if process is not None and process.state == "T" and self.missed >= 2:
            os.kill(self.init_pid, signal.SIGCONT)
        if self.init_pid and self.missed > BEATS_MISSED:
            os.kill(self.init_pid, signal.SIGKILL)
            self.missed = 0

    def serve(self) -> None:
        """Until init has said goodbye and left."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        next_beat = time.monotonic() + BEAT_S
        while not (self.leaving and self.init_pid == 0):
            if self.init_pid == 0 and time.monotonic() - self.init_started >= self.delay_s:
                self.start_init()
            poller = select.poll()
            poller.register(wake_read, select.POLLIN)
            if self.link is not None:
                blocked = select.POLLOUT if self.backlog else 0
                poller.register(self.link, select.POLLIN | blocked)
            due = next_beat if self.init_pid else self.init_started + self.delay_s
            ready = poller.poll(max(0.0, due - time.monotonic()) * 1000)
            for fd, _ in ready:
                if fd == wake_read:
                    os.read(wake_read, 4096)
                elif self.link is not None and fd == self.link.fileno():
                    self.receive()
            self.reap()
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + BEAT_S
                self.beat()
            self.flush()

    def on_term(self, *_: object) -> None:
        """Leave the agents running; end Holdfast. The next `holdfast up` adopts them."""
        self.told_to_leave = True
        self.backlog.append(b"leave\n")


def take_lock(home: str) -> int | None:
    """The home's lock with our pid inside, or None when somebody else holds it."""
    fd = os.open(f"{home}/guard.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def open_notify_socket(path: str) -> int:
    """Agents of other users must be able to send; who sent is known from the kernel, never from the content."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    sock.bind(path)
    os.chmod(path, 0o666)
    return sock.detach()


def main() -> None:
    options = launch.Options(sys.argv[1:])
    kernel.name_process("holdfast-guard")
    kernel.become_subreaper()
    lock_fd, notify_fd = options.lock_fd, options.notify_fd
    if lock_fd < 0:
        taken = take_lock(options.home)
        if taken is None:
            print(f"holdfast: {options.home} is owned by another guard; leaving", file=sys.stderr)
            sys.exit(OWNED_ALREADY)
        lock_fd = taken
    else:
        os.set_inheritable(lock_fd, False)
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, b"%d\n" % os.getpid(), 0)
    if notify_fd < 0:
        notify_fd = open_notify_socket(f"{options.run}/notify.sock")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    except PermissionError:
        pass  # an ordinary user
    guard = Guard(options.home, options.run, lock_fd, notify_fd, options.restarts)
    guard.init_restarts = options.init_restarts
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, guard.on_term)
    signal.signal(signal.SIGINT, guard.on_term)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    guard.serve()
    sys.exit(0 if guard.told_to_leave else EXIT_DOWN)


if __name__ == "__main__":
    main()
