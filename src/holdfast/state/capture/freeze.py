"""Standing an agent still for a moment, so that all its files belong to one moment.

Invariant: it goes on again, whatever happens to us. A watcher process lets it go when the time is up or when we are
gone (it hears the end of a pipe), and both of us let it go when we are done. It is there before the agent stands still.
Should both be killed at once, a file that was written before says whom to let go: the keeper does when it starts.
Three ways, best first: its v2 cgroup, its v1 freezer cgroup, or SIGSTOP to its processes. An agent that stood still
before us is left so, and is not ours. Called by capture.py and database.py, with what the worker's job made here, and
by the keeper at its start.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from holdfast import limits
from holdfast.state import forking

MARK = "standing-still-"
_LOOK_EVERY_S = 0.0005
_READY, _LET_GO = b"r", b"g"
_STOP_ROUNDS = 8  # a process may fork while the others are being stopped
_STANDING = ("T", "t", "Z", "X")  # states of a process that does nothing


class CannotFreeze(Exception):
    """The agent could not be stood still; str() says why. It runs, or stands still by another's hand."""


class Stillness(Protocol):
    """The agent, while it stands still."""

    @property
    def deadline_mono(self) -> float:
        """Monotonic seconds. It goes on then, whether or not we are done."""

    @property
    def pause_s(self) -> float:
        """How long it stood still; known after the block."""

    def lasted(self) -> bool:
        """Whether it has stood still without a break until now."""


class Freezer(Protocol):
    """What can stand an agent still."""

    def frozen(self) -> AbstractContextManager[Stillness]:
        """For the block, at most FREEZE_MAX_S. Raises CannotFreeze."""


class Way(Protocol):
    """How processes are stood still. All methods raise OSError. `named`: kind and place, for `_named`."""

    @property
    def named(self) -> str: ...

    def stop(self, tell: Callable[[bytes], None]) -> None:
        """Begin. `tell` takes to the watcher what it needs to undo it, before it is done."""

    def is_still(self) -> bool: ...

    def go_on(self, told: bytes) -> None:
        """`told`: all that `stop` told, here or in the other process. Twice is as good as once."""


class CgroupV2:
    """cgroup.freeze of one directory, which holds for all below it."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.named = f"v2 {directory}"

    def stop(self, tell: Callable[[bytes], None]) -> None:
        _write(f"{self._directory}/cgroup.freeze", b"1")

    def is_still(self) -> bool:
        return b"frozen 1" in _read(f"{self._directory}/cgroup.events")

    def go_on(self, told: bytes) -> None:
        _write(f"{self._directory}/cgroup.freeze", b"0")


class CgroupV1:
    """freezer.state of one directory, which holds for all below it."""

    def __init__(self, directory: str) -> None:
        self._file = f"{directory}/freezer.state"
        self.named = f"v1 {directory}"

    def stop(self, tell: Callable[[bytes], None]) -> None:
        _write(self._file, b"FROZEN")

    def is_still(self) -> bool:
        return _read(self._file).strip() == b"FROZEN"

    def go_on(self, told: bytes) -> None:
        _write(self._file, b"THAWED")


class Signals:
    """SIGSTOP to each process. `members` lists their ids, and is asked again until nobody new is found."""

    named = "signals"

    def __init__(self, members: Callable[[], list[int]]) -> None:
        self._members = members
        self._stopped: set[int] = set()

    def stop(self, tell: Callable[[bytes], None]) -> None:
        for _ in range(_STOP_ROUNDS):
            new = [pid for pid in self._members() if pid not in self._stopped]
            for pid in new:
                state, started = _look(pid)
                if started and state not in _STANDING:
                    tell(f"{pid} {started}\n".encode())
                    self._stopped.add(pid)
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
            if not new:
                return

    def is_still(self) -> bool:
        return bool(self._stopped) and all(_look(pid)[0] in _STANDING for pid in self._stopped)

    def go_on(self, told: bytes) -> None:
        for line in told.decode().splitlines():
            pid, started = line.split()
            if _look(int(pid))[1] == started:  # an id may come to belong to another process
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(int(pid), signal.SIGCONT)


def choose(
    cgroup_v2: str | None, cgroups_v1: tuple[str, ...], members: Callable[[], list[int]], mark: Path | None = None
) -> Watched:
    """A freezer for an instance with these cgroups (directories), or else with these processes. `mark`: see Watched."""
    return Watched(way_for(cgroup_v2, cgroups_v1, members), mark)


def way_for(cgroup_v2: str | None, cgroups_v1: tuple[str, ...], members: Callable[[], list[int]]) -> Callable[[], Way]:
    """The best way there is; called anew for each pause."""
    if cgroup_v2 and os.path.exists(f"{cgroup_v2}/cgroup.freeze"):
        return partial(CgroupV2, cgroup_v2)
    for directory in cgroups_v1:
        if os.path.exists(f"{directory}/freezer.state"):
            return partial(CgroupV1, directory)
    return partial(Signals, members)


def release_left(state_home: Path) -> list[str]:
    """Let go whom a killed job and its killed watcher left standing still; their names. Never raises.

    `state_home`: HOME/state. A job that is at it just now sees that its pause did not last.
    """
    released = []
    for mark in sorted(state_home.glob(f"*/{MARK}*")):
        with suppress(OSError, ValueError, UnicodeError):
            named, _, told = mark.read_bytes().partition(b"\n")
            _named(named.decode()).go_on(told[: told.rfind(b"\n") + 1])
            released.append(mark.parent.name)
        with suppress(OSError):
            mark.unlink()
    return released


def _named(text: str) -> Way:
    kind, _, directory = text.partition(" ")
    if kind == "v2":
        return CgroupV2(directory)
    return CgroupV1(directory) if kind == "v1" else Signals(list)


# --- we and the watcher ----------------------------------------------------------------------------------------------
class Pause:
    """One standing still, as Stillness. `watcher`: its process id."""

    def __init__(self, way: Way, mark: Path | None = None) -> None:
        self._way, self._told, self._mark = way, b"", mark
        self._began_mono = self._ended_mono = self._deadline_mono = 0.0
        heard, hear = os.pipe2(os.O_CLOEXEC)
        control_out, control = os.pipe2(os.O_CLOEXEC)
        self.watcher = os.fork()
        if self.watcher == 0:
            _watch(way, hear, control_out, mark)
        os.close(hear)
        os.close(control_out)
        self._heard, self._control = heard, control

    @property
    def deadline_mono(self) -> float:
        return self._deadline_mono

    @property
    def pause_s(self) -> float:
        return self._ended_mono - self._began_mono if self._ended_mono else 0.0

    def lasted(self) -> bool:
        """The watcher says when it lets go, and is heard to be gone when it was killed. Others may have let it go."""
        try:
            return time.monotonic() < self._deadline_mono and not _has_news(self._heard, 0) and self._way.is_still()
        except OSError:
            return False

    def begin(self) -> None:
        """Raises CannotFreeze; call `end` in any case."""
        if not _has_news(self._heard, limits.FREEZE_WATCHER_WAIT_S) or os.read(self._heard, 1) != _READY:
            raise CannotFreeze("its watcher did not start in time")
        self._began_mono = time.monotonic()
        self._deadline_mono = self._began_mono + limits.FREEZE_HOLD_S
        os.write(self._control, f"{self._deadline_mono}\n".encode())
        try:
            if self._mark is not None:
                self._mark.write_bytes(self._way.named.encode() + b"\n")
            self._way.stop(self._tell)
            while not self._way.is_still():
                if time.monotonic() > self._began_mono + limits.FREEZE_REACH_S:
                    raise CannotFreeze("it did not come to stand still in time")
                time.sleep(_LOOK_EVERY_S)
        except OSError as e:
            raise CannotFreeze(f"it cannot be stood still: {e.strerror}") from e

    def _tell(self, text: bytes) -> None:
        self._told += text
        os.write(self._control, text)
        if self._mark is not None:
            with self._mark.open("ab", buffering=0) as file:
                file.write(text)

    def end(self) -> None:
        """Let it go, and see the watcher off. Leaves nothing behind."""
        try:
            if self._began_mono:
                self._way.go_on(self._told)
        except OSError:
            pass  # the cgroup is gone, and who was in it
        finally:
            self._ended_mono = time.monotonic()
            os.close(self._control)
            if _has_news(self._heard, limits.FREEZE_WATCHER_WAIT_S):
                at = os.read(self._heard, 100)
                if at.startswith(_LET_GO):
                    self._ended_mono = min(self._ended_mono, float(at[1:]))
            os.close(self._heard)
            forking.end(self.watcher)
            _unmark(self._mark)


class Watched:
    """A freezer with a watcher. `way` makes the way anew for each pause. `pauses_s`: how long each lasted.

    `mark`: beginning of a file's name, HOME/state/AGENT/MARK; the file is there while the agent stands still.
    """

    def __init__(self, way: Callable[[], Way], mark: Path | None = None) -> None:
        self._way = way
        self._mark = mark.with_name(f"{mark.name}{os.getpid()}") if mark is not None else None
        self.pauses_s: list[float] = []

    @contextmanager
    def frozen(self) -> Iterator[Stillness]:
        way = self._way()
        try:
            if way.is_still():
                raise CannotFreeze("it stands still already, and not by our hand")
        except OSError as e:
            raise CannotFreeze(f"it cannot be asked whether it stands still: {e.strerror}") from e
        pause = Pause(way, self._mark)
        try:
            pause.begin()
            yield pause
        finally:
            pause.end()
            self.pauses_s.append(pause.pause_s)


def _unmark(mark: Path | None) -> None:
    if mark is not None:
        with suppress(OSError):
            mark.unlink()


def _watch(way: Way, hear: int, control: int, mark: Path | None) -> None:
    """The watcher. Never returns."""
    told = b""
    try:
        forking.plain_signals(ignored=(signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
        os.setsid()
        hear, control = forking.keep_only(hear, control)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)  # the worker is nice; who ends a pause must not be
        os.write(hear, _READY)
        while b"\n" not in told:
            if not (text := os.read(control, 65_536)):
                os._exit(0)  # it never began
            told += text
        first, _, told = told.partition(b"\n")
        deadline_mono = float(first)
        while _has_news(control, deadline_mono - time.monotonic()) and (text := os.read(control, 65_536)):
            told += text
        way.go_on(told)
        _unmark(mark)
        os.write(hear, _LET_GO + str(time.monotonic()).encode())
    finally:
        os._exit(0)


def _has_news(fd: int, wait_s: float) -> bool:
    """Whether there is something to read, or the other end was closed."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0.0, wait_s) * 1000))


def _look(pid: int) -> tuple[str, str]:
    """State and start time of a process; ("X", "") when it is gone."""
    try:
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        return fields[0].decode(), fields[19].decode()
    except (OSError, IndexError):
        return "X", ""


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(4096)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(data)
