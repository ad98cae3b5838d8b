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

from holdfast.logs import rotation, settings
from holdfast.logs.capture import Capture, Step
from holdfast.logs.crew import FIRST_LOOK_S, Crew
from holdfast.logs.paces import Paces
from holdfast.logs.watch import IN_IGNORED, IN_Q_OVERFLOW, Watch

USAGE = "usage: python -m holdfast.logs --home HOME [--file-bytes N] [--files N] [--rate N] [--first-look-ms N]"
SETTINGS = "/"  # stands for the directory of the keeper's settings among the watched ones
LIGHT_BYTES = 16 * 1024  # a round that moved less from everybody may wait a little for more
PAUSE_S = 0.004  # 250 rounds a second are enough for agents that print line by line
LOOK_S = 1.0  # how often to look around where inotify cannot
LAST_TURNS = 64  # at SIGTERM: an agent that floods must not keep us
PIPE_BYTES = 256 * 1024
SAID_MAX = 1000  # messages that are not repeated; some name files, of which there are ever new ones
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
    """Everything one logger holds. `default`: limits of agents that the keeper did not name; `step`: for tests."""

    def __init__(
        self, home: str, default: settings.Limit, first_look_s: float = FIRST_LOOK_S, step: Step = lambda name: None
    ) -> None:
        self._home = home
        self._logs = os.path.join(home, "logs")
        self._default = default
        self._limits: dict[str, settings.Limit] = {}
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
        self._paces = Paces(home, self._epoll)
        self._crew = Crew(home, first_look_s)
        self._epoll.register(self._crew.fd, select.EPOLLIN)

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then what is in the FIFOs is stored."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # wakes us
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
                self._crew.reap()
            elif fd == self._crew.fd:
                for words in self._crew.orders():
                    self._obey(words)
        self._overdue(time.monotonic())
        if 0 < most < LIGHT_BYTES:
            time.sleep(PAUSE_S)

    def _timeout_s(self) -> float | None:
        """None while all is well: sleep until something happens."""
        due = [capture.retry_mono for capture in self._dropping if capture.retry_mono is not None]
        due += [
            at for at in (self._look_mono, self._paces.next_due_mono(), self._crew.next_due_mono()) if at is not None
        ]
        return max(0.002, min(due) - time.monotonic()) if due else None

    def _turn(self, source: Source) -> int:
        capture = source.capture
        now_mono = time.monotonic()
        moved = capture.turn(source.fd, time.time_ns(), now_mono, self._paces.allowance(source.agent))
        if capture.retry_mono is not None:
            self._dropping.add(capture)
        elif not source.retired:
            self._paces.took(source.agent, source.fd, capture, moved, now_mono)
        if capture.rotated:
            capture.rotated = False
            self._crew.rotated()
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
                self._let_go(capture)
        if self._look_mono is not None and now_mono >= self._look_mono:
            self._look_mono = None
            self._look_around()
        self._paces.look(self._captures, now_mono)
        self._crew.look()

    # --- what others ask for -------------------------------------------------------------------------------------
    def _read_settings(self) -> None:
        found = settings.read(self._home)
        if found is None:
            return
        self._limits, helpers = found
        self._crew.want(helpers)
        for agent, capture in self._captures.items():
            self._limit(agent, capture)

    def _limit(self, agent: str, capture: Capture) -> None:
        size, files, rate = self._limits.get(agent, self._default)
        capture.limit(size, files)
        self._paces.limit(agent, rate, time.monotonic())

    def _obey(self, words: list[str]) -> None:
        """An order of a helper process. Files that we write are renamed and deleted by nobody else."""
        capture = self._captures.get(words[1]) if len(words) > 1 else None
        try:
            if words[0] == "drop" and len(words) == 5 and "/" not in words[1]:
                inode, size, mtime_ns = (int(word) for word in words[2:])
                rotation.drop(os.path.join(self._logs, words[1]), inode, size, mtime_ns)
            elif words[0] == "rotate" and capture is not None:
                capture.rotate()
                self._crew.rotated()
            elif words[0] == "say" and capture is not None:
                self._paces.say(words[1], capture, " ".join(words[2:]))
                self._let_go(capture)
        except (OSError, ValueError) as error:
            self._say_once(f"{' '.join(words)}: {error}")

    # --- which agents there are ------------------------------------------------------------------------------
    def _heed_events(self, watch: Watch) -> None:
        changed: set[str] = set()
        for number, mask, name in watch.events():
            agent = self._watched.get(number)
            if mask & IN_Q_OVERFLOW or (agent == "" and not name):
                self._look_around()
            elif agent == SETTINGS:
                self._read_settings()
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
        self._watch_directory(os.path.join(self._home, settings.DIRECTORY), SETTINGS)
        self._read_settings()
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
            if len(self._said) >= SAID_MAX:
                self._said.clear()
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
            size, files, _ = self._limits.get(agent, self._default)
            self._captures[agent] = Capture(directory, size, files, self._devnull, self._step)
            self._limit(agent, self._captures[agent])
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
        self._paces.forget(agent)

    def _close(self, source: Source) -> None:
        self._paces.closed(source.fd)
        self._epoll.unregister(source.fd)
        del self._sources[source.fd]
        os.close(source.fd)
        self._let_go(source.capture)

    def _let_go(self, capture: Capture) -> None:
        """Nobody prints into this log any more: keep no descriptor for an agent that left, perhaps for ever."""
        if all(source.capture is not capture for source in self._sources.values()):
            capture.close()  # opened again by the next bytes


def say(text: str) -> None:
    """One message of the logger's own; nobody listening is no reason to stop."""
    try:
        sys.stderr.write(f"logger: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass


def main(arguments: list[str]) -> int:
    """Exit codes: 0 stopped as asked, or another logger has this home; 1 the home cannot be used; 2 usage."""
    options = {"--home": "", "--first-look-ms": str(int(FIRST_LOOK_S * 1000))}
    options.update(zip(("--file-bytes", "--files", "--rate"), map(str, settings.DEFAULT), strict=True))
    pairs = list(zip(arguments[::2], arguments[1::2], strict=False))
    known = len(arguments) % 2 == 0 and all(name in options for name, _ in pairs)
    options.update(pairs)
    texts = [options[name] for name in ("--file-bytes", "--files", "--rate", "--first-look-ms")]
    numbers = [int(text) for text in texts if text.isascii() and text.isdigit()]
    if not known or not options["--home"] or len(numbers) < 4 or 0 in numbers[:2]:
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
    try:
        os.makedirs(os.path.join(home, settings.DIRECTORY), 0o700, exist_ok=True)
    except OSError:
        pass  # a full or read-only disk: nothing is asked of us then
    Logger(home, (numbers[0], numbers[1], numbers[2]), numbers[3] / 1000).run()
    return 0


def _raise_descriptor_limit() -> None:
    """Two descriptors an agent: thousands of agents need more than the usual soft limit of 1,024."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass
