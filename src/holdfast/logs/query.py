"""What is asked of logs: one agent's lines by time, number and pattern, and several agents' lines in the order of time.

Invariant: lines of one agent stay in their order; between agents the order is that of capturing, exact to about a
second. Called by the command line.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from holdfast.logs.matcher import Matcher
from holdfast.logs.pieces import Stream
from holdfast.logs.read import CutLines
from holdfast.logs.search import READ_BYTES, Hit, find


class Line(NamedTuple):
    """One line without its newline. `at_ns`: when it was captured. `gap`: what came before it is not shown."""

    at_ns: int
    agent: str
    text: bytes
    gap: bool = False


class Query(NamedTuple):
    """`last`: so many lines from the end (of those that match); `context`: lines shown around each match."""

    since_ns: int | None = None
    until_ns: int | None = None
    last: int | None = None
    matcher: Matcher | None = None
    context: int = 0


def select(agent: str, stream: Stream, query: Query, *, whole_lines: bool = False) -> tuple[Iterator[Line], int]:
    """The lines of one agent, and the offset behind them. `whole_lines`: what follows the last newline is left."""
    start = 0 if query.since_ns is None else stream.since(query.since_ns)
    end = stream.size if query.until_ns is None else stream.until(query.until_ns)
    if whole_lines:
        end = stream.line_start(end)
    if query.matcher is not None:
        return _stamped(agent, stream, _matching(stream, query, query.matcher, start, end)), end
    if query.last is not None:
        start = max(start, stream.last_lines(query.last, end))
    return _stamped(agent, stream, plain_lines(stream, start, end)), end


def merge(sources: Iterable[Iterator[Line]]) -> Iterator[Line]:
    """All lines in the order of time."""
    return heapq.merge(*sources, key=lambda line: line.at_ns)


class Found(NamedTuple):
    """A line of the stream. `behind`: where the next one begins."""

    start: int
    text: bytes
    behind: int
    gap: bool = False


def plain_lines(stream: Stream, start: int, end: int) -> Iterator[Found]:
    """Lines that begin in [start, end); `start` is the beginning of one."""
    lines, begun, position = CutLines(), start, start
    while position < stream.size and begun < end:
        data = stream.read(READ_BYTES, position)
        if not data:
            break
        newline = -1
        for text in lines.feed(data):
            if begun >= end:
                return
            newline = data.index(b"\n", newline + 1)
            behind = position + newline + 1
            yield Found(begun, text, behind)
            begun = behind
        position += len(data)
    rest = lines.rest()
    if rest is not None and begun < end:
        yield Found(begun, rest, stream.size)


def _matching(stream: Stream, query: Query, matcher: Matcher, start: int, end: int) -> Iterator[Found]:
    if query.last is None:
        hits: Iterator[Hit] = (hit for unit in find(stream, matcher, start, end) for hit in unit)
    else:
        hits = iter(_last_hits(stream, matcher, start, end, query.last))
    if not query.context:
        return (Found(hit.start, hit.text, hit.end + 1) for hit in hits)
    return _around(stream, hits, query.context, start, end)


def _last_hits(stream: Stream, matcher: Matcher, start: int, end: int, count: int) -> list[Hit]:
    kept: deque[Hit] = deque()
    if count <= 0:
        return []
    units = find(stream, matcher, start, end, backwards=True)
    try:
        for unit in units:
            kept.extendleft(reversed(unit[-(count - len(kept)) :]))
            if len(kept) >= count:
                break
    finally:
        units.close()  # type: ignore[attr-defined]
    return list(kept)


def _around(stream: Stream, hits: Iterator[Hit], context: int, start: int, end: int) -> Iterator[Found]:
    """Each match with the lines around it, none twice."""
    shown = start  # lines that begin before this were shown, or are not wanted
    left = 0  # lines still to be shown behind the last match
    for hit in hits:
        for line in _first(plain_lines(stream, shown, hit.start), left):
            yield line
            shown = line.behind
        first = max(shown, stream.last_lines(context, hit.start))
        hidden = first > shown > start
        for number, line in enumerate(plain_lines(stream, first, hit.start + 1)):
            yield line._replace(gap=hidden and number == 0)
            shown = line.behind
        left = context
    yield from _first(plain_lines(stream, shown, end), left)


def _first(lines: Iterator[Found], count: int) -> Iterator[Found]:
    for _, line in zip(range(count), lines, strict=False):
        yield line


def _stamped(agent: str, stream: Stream, lines: Iterable[Found]) -> Iterator[Line]:
    latest = 0
    for line in lines:
        latest = max(latest, stream.stamp(line.start))  # after a jump of the clock the order of the lines is kept
        yield Line(latest, agent, line.text, line.gap)


class Following:
    """The same choice for lines as they come."""

    def __init__(self, agent: str, query: Query) -> None:
        self._agent = agent
        self._matcher = query.matcher
        self._context = query.context
        self._before: deque[bytes] = deque(maxlen=query.context)
        self._left = 0
        self._hidden = False  # a line was left out since the last one shown

    def feed(self, lines: list[bytes], at_ns: int) -> Iterator[Line]:
        """Those of `lines`, without newlines, that are wanted."""
        for text in lines:
            if self._matcher is None:
                yield Line(at_ns, self._agent, text)
            elif self._matcher.matches(text):
                gap = self._hidden and self._context > 0
                for earlier in self._before:
                    yield Line(at_ns, self._agent, earlier, gap)
                    gap = False
                yield Line(at_ns, self._agent, text, gap)
                self._before.clear()
                self._left, self._hidden = self._context, False
            elif self._left:
                self._left -= 1
                yield Line(at_ns, self._agent, text)
            else:
                self._hidden = self._hidden or len(self._before) == self._context
                self._before.append(text)
