"""The matcher: a process of the keeper's that reads what agents printed since the last look and searches it.

It is told on its standard input, one JSON object a line: {"id", "agent", "instance", "path", "patterns"}; it answers
on its standard output {"id", "lines", "hits", "quotes", "slow", "skipped"}. With the first look at an instance only
what comes from then on is searched, so that no instance answers for the words of the one before.

Invariants: it is a process of its own, since a regular expression that goes wild would hold up the whole keeper; each
pattern has a budget of CPU seconds a turn and is not searched any more when it was used up; a turn reads TURN_BYTES at
most and goes on at the end when more is there, saying how much it left out; lines are cut at LINE_BYTES; Holdfast's own
notices are no lines of the agent's. It ends with the keeper. Standard library only; started by
keeper/watching/log_lines.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from typing import Any

from holdfast.init import kernel

TURN_BYTES = 1024 * 1024
LINE_BYTES = 4096
QUOTE_CHARS = 160
PATTERN_CPU_S = 0.5  # for one turn: 1 MiB in 0.5 s is a fiftieth of what an ordinary expression does
NOTICE = b"holdfast: "


class TooSlow(Exception):
    """A pattern used up its budget."""


class Place:
    """An open log file and how far it was read. A file that was rotated away is read to its end first."""

    def __init__(self, instance: int) -> None:
        self.instance = instance
        self.fd, self.inode, self.offset = -1, 0, 0
        self.cut = b""  # the beginning of a line whose end was not there yet

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd, self.cut = -1, b""


class Matcher:
    """Everything that is remembered between turns, by agent."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._compiled: dict[str, re.Pattern[str] | None] = {}
        self._slow: set[tuple[str, str]] = set()

    def turn(self, request: dict[str, Any]) -> dict[str, Any]:
        """One look at one agent's log."""
        agent, patterns = request["agent"], request["patterns"]
        if request.get("forget"):
            self._forget(agent)
            return {"id": request["id"], "lines": False, "hits": [], "quotes": [], "slow": [], "skipped": 0}
        data, skipped = self._read(agent, request["instance"], request["path"])
        lines = self._lines(agent, data)
        hits, quotes = [], []
        for pattern in patterns:
            count, quote = self._search(agent, pattern, lines)
            hits.append(count)
            quotes.append(quote)
        slow = [number for number, pattern in enumerate(patterns) if (agent, pattern) in self._slow]
        return {
            "id": request["id"], "lines": bool(lines), "hits": hits, "quotes": quotes, "slow": slow, "skipped": skipped,
        }  # fmt: skip

    def _forget(self, agent: str) -> None:
        place = self._places.pop(agent, None)
        if place is not None:
            place.close()
        self._slow = {one for one in self._slow if one[0] != agent}

    # --- reading -------------------------------------------------------------------------------------------------
    def _read(self, agent: str, instance: int, path: str) -> tuple[bytes, int]:
        """What came since the last turn, bounded, and the number of bytes left out."""
        place = self._places.get(agent)
        if place is None or place.instance != instance:
            if place is not None:
                place.close()
            place = self._places[agent] = Place(instance)
            if self._open(place, path):
                place.offset = os.fstat(place.fd).st_size
            return b"", 0
        data, skipped = self._rest(place, TURN_BYTES)
        if self._is_current(place, path):
            return data, skipped
        if not self._open(place, path):
            return data, skipped
        more, left_out = self._rest(place, max(0, TURN_BYTES - len(data)))
        return data + more, skipped + left_out

    def _rest(self, place: Place, most: int) -> tuple[bytes, int]:
        """From the last place to the end: the newest `most` bytes, and how many were left out before them."""
        if place.fd < 0:
            return b"", 0
        size = os.fstat(place.fd).st_size
        if size < place.offset:
            place.offset, place.cut = 0, b""  # emptied by somebody
        skipped = max(0, size - place.offset - most)
        if skipped:
            place.offset, place.cut = place.offset + skipped, b""
        data = os.pread(place.fd, most, place.offset) if most else b""
        place.offset += len(data)
        return data, skipped

    @staticmethod
    def _is_current(place: Place, path: str) -> bool:
        try:
            return place.fd >= 0 and os.stat(path).st_ino == place.inode
        except OSError:
            return place.fd >= 0  # between two files

    @staticmethod
    def _open(place: Place, path: str) -> bool:
        """At the beginning of the present log; False when there is none."""
        cut = place.cut
        place.close()
        try:
            place.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        place.inode, place.offset, place.cut = os.fstat(place.fd).st_ino, 0, cut
        return True

    def _lines(self, agent: str, data: bytes) -> list[str]:
        """Whole lines of the agent's own, each cut at LINE_BYTES."""
        place = self._places[agent]
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:
            place.cut = (place.cut + data)[:LINE_BYTES]
            return []
        lines = (place.cut + whole).split(b"\n")
        place.cut = rest[:LINE_BYTES]
        return [line[:LINE_BYTES].decode("utf-8", "replace") for line in lines if not line.startswith(NOTICE)]

    # --- searching -----------------------------------------------------------------------------------------------
    def _search(self, agent: str, pattern: str, lines: list[str]) -> tuple[int, str]:
        """How many lines match, and the last of them; a pattern that takes too long counts what it found so far."""
        found = self._compile(pattern)
        if found is None or (agent, pattern) in self._slow or not lines:
            return 0, ""
        count, last = 0, ""
        signal.setitimer(signal.ITIMER_VIRTUAL, PATTERN_CPU_S)
        try:
            for line in lines:
                if found.search(line):
                    count, last = count + 1, line
        except TooSlow:
            self._slow.add((agent, pattern))
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return count, last[:QUOTE_CHARS]

    def _compile(self, pattern: str) -> re.Pattern[str] | None:
        if pattern not in self._compiled:
            try:
                self._compiled[pattern] = re.compile(pattern)
            except re.error:
                self._compiled[pattern] = None
        return self._compiled[pattern]


def _too_slow(number: int, frame: object) -> None:
    """The engine of regular expressions looks for signals while it searches, so this ends it in the middle."""
    raise TooSlow


def main() -> int:
    """`python -P -m holdfast.health.matcher`"""
    keeper = os.getppid()
    kernel.die_with_parent(signal.SIGKILL)
    if os.getppid() != keeper:
        return 0
    kernel.name_process("holdfast-match")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGVTALRM, _too_slow)
    matcher = Matcher()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            answer = matcher.turn(request)
        except OSError as error:
            answer = {"id": request["id"], "broken": error.strerror or str(error)}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
