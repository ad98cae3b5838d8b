"""The logger process: `python -m holdfast.logs --home HOME`. Drains every agent's FIFO into its log.

Invariants: one logger a home (logger.lock); no agent waits for another or for the disk; no periodic wake-up while all
is well; killed at any moment, the next one goes on by path. Imports the standard library only and little of it,
because it must start and stay small on a broken installation. Started and restarted by init.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
import stat
import sys
import time

from holdfast import limits
from holdfast.logs.capture import Capture, Step
from holdfast.logs.watch import IN_IGNORED, IN_Q_OVERFLOW, Watch

USAGE = "usage: python -m holdfast.logs --home HOME [--file-bytes N] [--files N]"
LIGHT_BYTES = 16 * 1024  # a round that moved less from everybody may wait a little for more
PAUSE_S = 0.004  # 250 rounds a second are enough for agents that print line by line
LOOK_S = 1.0  # how often to look around where inotify cannot
LAST_TURNS = 64  # at SIGTERM: an agent that floods must not keep us
PIPE_BYTES = 256 * 1024
PIPE_SIZE_FLOODED = 8  # full turns in a row after which a larger pipe is asked for


class Source:
    """One FIFO that is being drained. `retired`: its name is gone, its writers may not be."""

    __slots__ = ("agent", "capture", "fd", "full_turns", "inode", "retired")

    def __init__(self, agent: str, fd: int, inode: int, capture: Capture) -> None:
        self.agent = agent
        self.fd = fd
        self.inode = inode
        self.capture = capture
        self.retired = False
        self.full_turns = 0


class Logger:
    """Everything one logger holds. `step` is a fault point for tests."""

    def __init__(self, home: str, file_bytes: int, files: int, step: Step = lambda name: None) -> None:
        self._logs = os.path.join(home, "logs")
        self._file_bytes = file_bytes
        self._files = files
        self._step = step
        self._devnull = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._epoll = select.epoll()
        self._sources: dict[int, Source] = {}  # by descriptor
        self._current: dict[str, Source] = {}  # by agent
        self._captures: dict[str, Capture] = {}
        self._dropping: set[Capture] = set()
        self._watched: dict[int, str] = {}  # watch -> agent, "" for the directory of all
        self._watch: Watch | None = None
        self._look_mono: float | None = None  # next look around, when inotify does not tell
        self._said: set[str] = set()
        self._stopping = False
        self._wake, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then what is in the FIFOs is stored."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        try:
            self._watch = Watch()
            self._epoll.register(self._watch.fd, select.EPOLLIN)
        except OSError as error:
            say(f"no inotify ({error.strerror}): looking for agents every {LOOK_S:g} s instead")
        self._look_around()
        say(f"pid {os.getpid()} reads {len(self._current)} agents in {self._logs}")
        while not self._stopping:
            self._round()
        for source in list(self._sources.values()):
            for _ in range(LAST_TURNS):
                if not source.capture.turn(source.fd, time.time_ns(), time.monotonic()):
                    break

    def _on_stop(self, number: int, frame: object) -> None:
        self._stopping = True

    # --- the loop --------------------------------------------------------------------------------------------
    def _round(self) -> None:
        most = 0
        for fd, _ in self._epoll.poll(self._timeout_s(), 1024):
            source = self._sources.get(fd)
            if source is not None:
                most = max(most, self._turn(source))
            elif self._watch is not None and fd == self._watch.fd:
                self._heed_events(self._watch)
            elif fd == self._wake:
                os.read(self._wake, 4096)
        if self._dropping or self._look_mono is not None:
            self._overdue(time.monotonic())
        if 0 < most < LIGHT_BYTES:
            time.sleep(PAUSE_S)

    def _timeout_s(self) -> float | None:
        """None while all is well: sleep until something happens."""
        due = [capture.retry_mono for capture in self._dropping if capture.retry_mono is not None]
        if self._look_mono is not None:
            due.append(self._look_mono)
        return max(0.01, min(due) - time.monotonic()) if due else None

    def _turn(self, source: Source) -> int:
        capture = source.capture
        moved = capture.turn(source.fd, time.time_ns(), time.monotonic())
        if capture.retry_mono is not None:
            self._dropping.add(capture)
        if moved == 0 and source.retired and not self._has_writers(source.fd):
            self._close(source)
        source.full_turns = source.full_turns + 1 if moved >= 65536 else 0
        if source.full_turns == PIPE_SIZE_FLOODED:
            try:
                fcntl.fcntl(source.fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            except OSError:  # an ordinary user's share of pipe memory is used up
                pass
        return moved

    def _overdue(self, now_mono: float) -> None:
        for capture in list(self._dropping):
            if capture.retry(now_mono, time.time_ns()):
                self._dropping.discard(capture)
        if self._look_mono is not None and now_mono >= self._look_mono:
            self._look_mono = None
            self._look_around()

    # --- which agents there are ------------------------------------------------------------------------------
    def _heed_events(self, watch: Watch) -> None:
        changed: set[str] = set()
        for number, mask, name in watch.events():
            agent = self._watched.get(number)
            if mask & IN_Q_OVERFLOW or (agent == "" and not name):
                self._look_around()
            elif agent == "":
                changed.add(name)
            elif agent is not None and name in ("", "fifo", "log"):
                changed.add(agent)
            if mask & IN_IGNORED:
                self._watched.pop(number, None)
        for agent in changed:
            self._see_to(agent)

    def _look_around(self) -> None:
        """Compare what we hold with what is there, for all agents."""
        self._watch_directory(self._logs, "")
        try:
            there = set(os.listdir(self._logs))
        except OSError:
            there = set()
            self._look_mono = time.monotonic() + LOOK_S  # the home is gone; it may come back
        for agent in there | set(self._captures):
            self._see_to(agent)

    def _see_to(self, agent: str) -> None:
        """Compare what we hold with what is there, for one agent, and act on the difference. Idempotent."""
        directory = os.path.join(self._logs, agent)
        if not os.path.isdir(directory):
            self._forget(agent)
            return
        self._watch_directory(directory, agent)
        held = self._current.get(agent)
        try:
            status = os.stat(os.path.join(directory, "fifo"), follow_symlinks=False)
        except OSError:
            status = None
        if held is not None and (status is None or status.st_ino != held.inode):
            self._retire(held)
            held = None
        if status is not None and stat.S_ISFIFO(status.st_mode) and held is None:
            self._begin(agent, directory, status.st_ino)
        capture = self._captures.get(agent)
        if capture is not None:
            capture.check_file()

    def _watch_directory(self, path: str, agent: str) -> None:
        if self._watch is None:
            self._look_mono = time.monotonic() + LOOK_S
            return
        try:
            self._watched[self._watch.add(path)] = agent
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._say_once("no inotify watches left (fs.inotify.max_user_watches): looking every second instead")
            self._look_mono = time.monotonic() + LOOK_S

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            say(text)

    def _begin(self, agent: str, directory: str, inode: int) -> None:
        path = os.path.join(directory, "fifo")
        try:
            # Read-write, so that the FIFO never looks hung up between two instances of its agent.
            fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            self._say_once(f"{agent}: cannot open {path}: {error.strerror}; trying again every {LOOK_S:g} s")
            self._look_mono = time.monotonic() + LOOK_S
            return
        status = os.fstat(fd)
        if not stat.S_ISFIFO(status.st_mode) or status.st_ino != inode:
            os.close(fd)  # replaced in between: its event is on the way
            return
        if agent not in self._captures:
            self._captures[agent] = Capture(directory, self._file_bytes, self._files, self._devnull, self._step)
            if self._captures[agent].retry_mono is not None:
                self._dropping.add(self._captures[agent])
        for other in [one for one in self._sources.values() if one.retired and one.inode == inode]:
            self._close(other)  # the same FIFO under a new name: its bytes belong to this agent now
        source = Source(agent, fd, inode, self._captures[agent])
        self._sources[fd] = self._current[agent] = source
        self._epoll.register(fd, select.EPOLLIN)

    def _retire(self, source: Source) -> None:
        """The FIFO lost its name. Whoever still writes into it is drained until the last one is gone."""
        if self._current.get(source.agent) is source:
            del self._current[source.agent]
        try:
            fd = os.open(f"/proc/self/fd/{source.fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            fd = -1
        self._close(source)
        if fd >= 0:  # without our own writing end the kernel tells when the last writer leaves
            source.fd, source.retired = fd, True
            self._sources[fd] = source
            self._epoll.register(fd, select.EPOLLIN)

    def _has_writers(self, fd: int) -> bool:
        probe = select.poll()
        probe.register(fd, select.POLLIN)
        return not any(mask & select.POLLHUP for _, mask in probe.poll(0))

    def _forget(self, agent: str) -> None:
        """The agent's directory is gone."""
        capture = self._captures.pop(agent, None)
        if capture is None:
            return
        held = self._current.get(agent)
        if held is not None:
            self._retire(held)
        capture.gone = True
        capture.retry_mono = None
        capture.close()
        self._dropping.discard(capture)

    def _close(self, source: Source) -> None:
        self._epoll.unregister(source.fd)
        del self._sources[source.fd]
        os.close(source.fd)


def say(text: str) -> None:
    """One message of the logger's own; nobody listening is no reason to stop."""
    try:
        sys.stderr.write(f"logger: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass


def main(arguments: list[str]) -> int:
    """Exit codes: 0 stopped as asked, or another logger has this home; 1 the home cannot be used; 2 usage."""
    options = {"--home": "", "--file-bytes": str(limits.LOG_FILE_BYTES), "--files": str(limits.LOG_FILES)}
    pairs = list(zip(arguments[::2], arguments[1::2], strict=False))
    known = len(arguments) % 2 == 0 and all(name in options for name, _ in pairs)
    options.update(pairs)
    numbers = [options["--file-bytes"], options["--files"]]
    if not known or not options["--home"] or not all(n.isascii() and n.isdigit() and int(n) > 0 for n in numbers):
        print(USAGE, file=sys.stderr)
        return 2
    home = os.path.abspath(options["--home"])
    try:
        lock = os.open(os.path.join(home, "logger.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        say(f"{home} cannot be used: {error.strerror}")
        return 1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say(f"another logger already works in {home}: nothing to do")
        return 0
    _raise_descriptor_limit()
    Logger(home, int(numbers[0]), int(numbers[1])).run()
    return 0


def _raise_descriptor_limit() -> None:
    """Two descriptors an agent: thousands of agents need more than the usual soft limit of 1,024."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass
