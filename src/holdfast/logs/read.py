"""Reading what agents printed: lines across rotated and compressed files, by time, by number, and as they come.

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
from holdfast.logs import losses, rotation
from holdfast.logs.pieces import READ_BYTES, Piece, Stream, open_pieces

POLL_S = 0.2  # how often a follower looks for more


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
        self._lines = CutLines()
        self._piece: Piece | None = None
        self._offset = 0
        self.more = False
        stream = Stream(self._directory)
        try:
            start = 0
            if since_s is not None:
                now = time.time() if now_at is None else now_at
                start = stream.since(int((now - since_s) * 1e9))
            if last is not None:
                start = max(start, stream.last_lines(last))
            self._begin(stream, start)
        finally:
            stream.close()

    @classmethod
    def behind(cls, home: Home, agent: str, stream: Stream, offset: int) -> Follower:
        """Goes on where reading `stream` ended; takes a piece of it over."""
        follower = cls.__new__(cls)
        follower._directory = os.fspath(home.agent_logs(agent))
        follower._lines = CutLines()
        follower._piece = None
        follower._offset = 0
        follower.more = False
        follower._begin(stream, offset)
        return follower

    def _begin(self, stream: Stream, offset: int) -> None:
        if stream.pieces:
            number, self._offset = stream.place(offset)
            self._piece = stream.pieces.pop(number)

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
        if self._piece is not None:
            self._piece.close()
            self._piece = None

    def _read(self) -> bytes:
        if self._piece is None:
            self._advance()
        while self._piece is not None:
            chunk = self._read_current(self._piece)
            if chunk or not self._was_rotated(self._piece):
                return chunk
            chunk = self._read_current(self._piece)  # what came before the rotation, after the look above
            if chunk:
                return chunk
            if not self._advance():
                return b""
        return b""

    def _read_current(self, piece: Piece) -> bytes:
        piece.refresh()
        if piece.size < self._offset:  # somebody emptied the file
            self._offset = 0
        chunk = piece.read(READ_BYTES, self._offset)
        self._offset += len(chunk)
        return chunk

    def _was_rotated(self, piece: Piece) -> bool:
        if piece.is_packed:
            return True
        try:
            newest = os.stat(rotation.path_of(self._directory, 0), follow_symlinks=False)
        except OSError:
            return True  # no byte came since
        return newest.st_ino != piece.inode

    def _advance(self) -> bool:
        """Go on with the file after the present one; when that is gone, with the oldest that changed after it."""
        pieces = open_pieces(self._directory)
        newer = pieces
        here = self._piece
        if here is not None:
            here.refresh()
            known = next((number for number, piece in enumerate(pieces) if _same(piece, here)), None)
            newer = pieces[known + 1 :] if known is not None else [p for p in pieces if p.changed_ns >= here.changed_ns]
        chosen = newer[0] if newer else None
        for piece in pieces:
            if piece is not chosen:
                piece.close()
        if chosen is None:
            return False
        self.close()
        self._piece, self._offset = chosen, 0
        return True


def _same(one: Piece, other: Piece) -> bool:
    """Whether both are the same file, perhaps compressed meanwhile."""
    if one.is_packed or other.is_packed:
        return one.identity == other.identity
    return one.inode == other.inode


class CutLines:
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
