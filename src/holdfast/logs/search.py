"""Finding lines in logs, gigabytes of them: blocks are decoded and searched on all cores, results stay in order.

Invariants: each line is found once, whatever frames, files and units it is cut by; memory is bounded by a few units;
of a line longer than
LINE_MAX_BYTES the first so many bytes are searched, perhaps more. Called by query.py.
"""

from __future__ import annotations

import errno
import marshal
import os
import signal
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from holdfast import limits
from holdfast.logs.matcher import Matcher
from holdfast.logs.pieces import Stream

UNIT_BYTES = 8 * 1024 * 1024
READ_BYTES = 1024 * 1024
LINE_MAX_BYTES = 4 * 1024 * 1024
PARALLEL_FROM_BYTES = 4 * UNIT_BYTES  # less is done before another process has begun
PROCESSES_MAX = 8


class Hit(NamedTuple):
    """A line that is wanted. `start`, `end`: offsets in the stream, newline left out; `text`: as it is shown."""

    start: int
    end: int
    text: bytes


def find(stream: Stream, matcher: Matcher, start: int, end: int, *, backwards: bool = False) -> Iterator[list[Hit]]:
    """The wanted lines that begin in [start, end), unit by unit; `backwards`: the last unit first, each in order.

    Close the iterator to stop early.
    """
    units = [(at, min(at + UNIT_BYTES, end)) for at in range(start, end, UNIT_BYTES)]
    if backwards:
        units.reverse()
    processes = min(len(os.sched_getaffinity(0)), PROCESSES_MAX, len(units))
    if end - start < PARALLEL_FROM_BYTES or processes < 2:
        for unit in units:
            yield scan(stream, matcher, *unit)
        return
    yield from _in_parallel(stream, matcher, units, processes)


def _in_parallel(stream: Stream, matcher: Matcher, units: list[tuple[int, int]], count: int) -> Iterator[list[Hit]]:
    """Process k takes every count-th unit from k on; a full pipe makes it wait, so nobody runs far ahead."""
    workers = [_fork(stream, matcher, units[number::count]) for number in range(count)]
    try:
        for place in range(len(units)):
            yield _receive(workers[place % count][1])
    finally:
        for pid, pipe in workers:
            os.kill(pid, signal.SIGKILL)  # ours until waited for, so never somebody else's
            pipe.close()
            os.waitpid(pid, 0)


def _fork(stream: Stream, matcher: Matcher, units: list[tuple[int, int]]) -> tuple[int, BinaryIO]:
    """A process that scans `units` and ends. Returns its pid and where its results come."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, open(reading, "rb")
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asked
        os.close(reading)
        with open(writing, "wb") as pipe:
            for unit in units:
                data = marshal.dumps([tuple(hit) for hit in scan(stream, matcher, *unit)])
                pipe.write(len(data).to_bytes(8, "little") + data)
                pipe.flush()
    finally:
        os._exit(0)


def _receive(pipe: BinaryIO) -> list[Hit]:
    head = pipe.read(8)
    data = pipe.read(int.from_bytes(head, "little")) if len(head) == 8 else b""
    if not data:
        raise OSError(errno.EIO, "a search process ended before its work")
    return [Hit(*found) for found in marshal.loads(data)]


def scan(stream: Stream, matcher: Matcher, start: int, end: int) -> list[Hit]:
    """The wanted lines that begin in [start, end)."""
    found: list[Hit] = []
    for at, block in _blocks(stream, start, end):
        for first, last in matcher.hits(block):
            text = block[first : min(last, first + limits.LOG_LINE_SHOWN_MAX_BYTES)]
            hidden = last - first - len(text)
            found.append(Hit(at + first, at + last, text + b" [... %d bytes more]" % hidden if hidden else text))
    return found


def _blocks(stream: Stream, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines that begin in [start, end), each with its offset."""
    at = start
    if start > 0 and stream.read(1, start - 1) != b"\n":
        at = _next_line(stream, start, end)
    kept = b""
    position = at
    while at < end:
        data = stream.read(READ_BYTES, position)
        position += len(data)
        block = kept + data if kept else data
        if not data:  # the end of the stream: its last line may lack a newline
            if block:
                yield at, block
            return
        limit = end - at  # lines that begin from here on belong to the next unit
        if len(block) >= limit:
            newline = block.find(b"\n", limit - 1)
            whole = newline + 1
            if newline < 0 and len(block) - (block.rfind(b"\n", 0, limit) + 1) >= LINE_MAX_BYTES:
                whole = len(block)
            if whole:
                yield at, block[:whole]
                return
        whole = block.rfind(b"\n") + 1
        if not whole and len(block) >= LINE_MAX_BYTES:
            whole = len(block)
        if whole:
            yield at, block[:whole]
            at += whole
        kept = block[whole:]


def _next_line(stream: Stream, at: int, end: int) -> int:
    """Where the first line behind `at` begins; `end` when none does before."""
    while at < end:
        data = stream.read(READ_BYTES, at)
        if not data:
            return end
        newline = data.find(b"\n")
        if newline >= 0:
            return at + newline + 1
        at += len(data)
    return end
