"""Reading what agents printed: lines across rotated files, by time, by number, and as they come.

Invariants: binary-safe; memory is bounded by the line length shown, whatever the logs hold; a line that rotation cut
in two is one line again; following survives rotation. Called by the API, by post-mortems and by tests.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from holdfast import limits
from holdfast.home import Home
from holdfast.logs import index, losses, rotation

READ_BYTES = 64 * 1024
POLL_S = 0.2  # how often a follower looks for more
FILES_MAX = 1000  # numbers looked for; more files than this are not kept


@dataclass(frozen=True, slots=True)
class Dropped:
    """What of an agent's output could not be stored, in bytes, ever; `reason` is "" unless it goes on now."""

    dropped_bytes: int
    reason: str


def dropped(home: Home, agent: str) -> Dropped:
    """Read the logger's count. An agent that has none, or an unreadable one, counts as nothing dropped."""
    try:
        found = json.loads((home.agent_logs(agent) / losses.NAME).read_bytes())
        return Dropped(int(found["dropped_bytes"]), str(found["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Dropped(0, "")


def lines(
    home: Home,
    agent: str,
    *,
    since_s: float | None = None,
    last: int | None = None,
    follow: bool = False,
    now_at: float | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[bytes]:
    """Lines without their newline, oldest first.

    `since_s`: only what was captured in the last so many seconds (a second more may be shown, never less). `last`:
    only so many lines from the end. `follow`: go on for ever, waiting with `pause`; close the iterator to stop. An
    agent that never printed has no lines. Raises OSError when the logs cannot be read.
    """
    follower = Follower(home, agent, since_s=since_s, last=last, now_at=now_at)
    try:
        while True:
            found = follower.poll()
            yield from found
            if found or follower.more:
                continue
            if not follow:
                rest = follower.rest()
                if rest is not None:
                    yield rest
                return
            pause(POLL_S)
    finally:
        follower.close()


def tail(home: Home, agent: str, count: int = limits.POSTMORTEM_LOG_LINES) -> list[str]:
    """The last `count` lines as text, for post-mortems. Never raises for the disk: no logs, no lines."""
    try:
        return [line.decode("utf-8", "replace") for line in lines(home, agent, last=count)]
    except OSError:
        return []


class Follower:
    """A place in an agent's output. `poll` never waits, so it can be asked from an event loop.

    `more`: the last poll stopped at its bound, not at the end.
    """

    def __init__(
        self,
        home: Home,
        agent: str,
        *,
        since_s: float | None = None,
        last: int | None = None,
        now_at: float | None = None,
    ) -> None:
        self._directory = os.fspath(home.agent_logs(agent))
        self._lines = _Lines()
        self._fd = -1
        self._offset = 0
        self.more = False
        files = open_files(self._directory)
        try:
            place = (0, 0)
            if since_s is not None:
                now = time.time() if now_at is None else now_at
                place = max(place, _place_since(files, int((now - since_s) * 1e9)))
            if last is not None:
                place = max(place, _place_last(files, last))
            if files:
                number, self._offset = place
                self._fd = os.dup(files[number].fd)
        finally:
            for file in files:
                os.close(file.fd)

    def poll(self) -> list[bytes]:
        """Whole lines that came since, from at most READ_BYTES of log."""
        chunk = self._read()
        self.more = bool(chunk)
        return self._lines.feed(chunk)

    def rest(self) -> bytes | None:
        """What follows the last newline, when anything does."""
        return self._lines.rest()

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> bytes:
        if self._fd < 0:
            self._advance()
            if self._fd < 0:
                return b""
        while True:
            chunk = self._read_current()
            if chunk or not self._was_rotated():
                return chunk
            chunk = self._read_current()  # what came before the rotation, after the look above
            if chunk:
                return chunk
            if not self._advance():
                return b""

    def _read_current(self) -> bytes:
        if os.fstat(self._fd).st_size < self._offset:  # somebody emptied the file
            self._offset = 0
        chunk = os.pread(self._fd, READ_BYTES, self._offset)
        self._offset += len(chunk)
        return chunk

    def _was_rotated(self) -> bool:
        try:
            newest = os.stat(rotation.path_of(self._directory, 0), follow_symlinks=False)
        except OSError:
            return True  # no byte came since
        return newest.st_ino != os.fstat(self._fd).st_ino

    def _advance(self) -> bool:
        """Go on with the file after the present one; when that is gone, with the oldest that changed after it."""
        files = open_files(self._directory)
        chosen = files[0].fd if files else -1
        if self._fd >= 0:
            here = os.fstat(self._fd)
            known = next((number for number, file in enumerate(files) if file.inode == here.st_ino), None)
            newer = files[known + 1 :] if known is not None else [f for f in files if f.changed_ns >= here.st_mtime_ns]
            chosen = newer[0].fd if newer else -1
        for file in files:
            if file.fd != chosen:
                os.close(file.fd)
        if chosen < 0:
            return False
        self.close()
        self._fd, self._offset = chosen, 0
        return True


@dataclass(frozen=True, slots=True)
class _File:
    fd: int
    path: str
    inode: int
    size: int
    changed_ns: int


def open_files(directory: str) -> list[_File]:
    """All log files of an agent, open, oldest first. The caller closes them. A missing directory has none.

    Opened newest first: a rotation in between moves files to higher numbers only, so none is missed.
    """
    try:
        there = set(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    highest = max((int(n) for n in (e.removeprefix("log.") for e in there) if n.isascii() and n.isdigit()), default=0)
    found: list[_File] = []
    for number in range(min(highest, FILES_MAX) + 2):  # one more: a rotation may be under way
        path = rotation.path_of(directory, number)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        status = os.fstat(fd)
        if any(status.st_ino == file.inode for file in found):
            os.close(fd)
            continue
        found.append(_File(fd, path, status.st_ino, status.st_size, status.st_mtime_ns))
    return found[::-1]


def _place_since(files: list[_File], at_ns: int) -> tuple[int, int]:
    """Number of the file and offset where the output of `at_ns` and later begins; the beginning of its line."""
    for number in range(len(files) - 1, -1, -1):
        file = files[number]
        if file.changed_ns < at_ns:  # nothing in it is that new
            offset: int | None = file.size
        else:
            offset = index.offset_before(file.path + index.SUFFIX, file.inode, at_ns, file.size)
        if offset is not None:
            if offset == file.size and number + 1 < len(files):
                return number + 1, 0
            return number, _line_start(file.fd, offset)
    return 0, 0


def _line_start(fd: int, offset: int) -> int:
    """Where the line that `offset` lies in begins; `offset` itself when that is too far back."""
    start = max(0, offset - limits.LOG_LINE_SHOWN_MAX_BYTES)
    before = os.pread(fd, offset - start, start)
    newline = before.rfind(b"\n")
    if newline >= 0:
        return start + newline + 1
    return 0 if start == 0 else offset


def _place_last(files: list[_File], count: int) -> tuple[int, int]:
    """Number of the file and offset where the last `count` lines begin, read from the end."""
    wanted = count + 1  # the newline in front of the first line wanted
    ends_here = True  # a newline at the very end closes a line and begins none
    for number in range(len(files) - 1, -1, -1):
        file, end = files[number], files[number].size
        if end and ends_here:
            ends_here = False
            if os.pread(file.fd, 1, end - 1) != b"\n":
                wanted -= 1
            if wanted <= 0 or count <= 0:
                return number, end
        while end > 0:
            start = max(0, end - READ_BYTES)
            chunk = os.pread(file.fd, end - start, start)
            here = chunk.count(b"\n")
            if here < wanted:
                wanted -= here
                end = start
                continue
            at = len(chunk)
            for _ in range(wanted):
                at = chunk.rfind(b"\n", 0, at)
            return number, start + at + 1
    return 0, 0


class _Lines:
    """Cuts a stream into lines; keeps no more of a line than is shown."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this piece of the stream completes."""
        *whole, rest = chunk.split(b"\n")
        found = []
        for piece in whole:
            self._add(piece)
            found.append(self._shown())
        self._add(rest)
        return found

    def rest(self) -> bytes | None:
        return self._shown() if self._length else None

    def _add(self, piece: bytes) -> None:
        room = limits.LOG_LINE_SHOWN_MAX_BYTES - len(self._kept)
        self._kept += piece[:room]
        self._length += len(piece)

    def _shown(self) -> bytes:
        line, hidden = bytes(self._kept), self._length - len(self._kept)
        self._kept.clear()
        self._length = 0
        return line + b" [... %d bytes more]" % hidden if hidden else line
