"""Standard output whose failures are told apart from those of everything else a command reads and writes.

Invariant: an output that cannot be written (a full disk behind it) is an OutputFailed, which nobody takes for an
unreadable home or a mistake of ours; a reader that left stays a BrokenPipeError. Called by main.py.
"""

from __future__ import annotations

import io
import sys
from typing import Any


class OutputFailed(Exception):
    """str(): why. No OSError, so that handlers of those leave it alone."""


class _Guarded(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except (BrokenPipeError, BlockingIOError):
            raise
        except OSError as error:
            raise OutputFailed(error.strerror or str(error)) from error


def guard_stdout() -> None:
    """Once for each process; only what Python itself opened on descriptor 1, since it keeps that open."""
    stream = sys.stdout
    if stream is not sys.__stdout__ or type(stream) is not io.TextIOWrapper:
        return
    unbuffered = isinstance(stream.buffer, io.FileIO)  # PYTHONUNBUFFERED
    raw = stream.buffer if unbuffered else getattr(stream.buffer, "raw", None)
    if type(raw) is not io.FileIO or raw.fileno() != 1:
        return
    stream.flush()
    guarded: Any = _Guarded(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        guarded if unbuffered else io.BufferedWriter(guarded),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=unbuffered,
    )
