"""Values as people read them: durations, sizes, times, aligned tables. Pure but for asking the terminal.

Invariant: without a terminal, or with NO_COLOR, the output is plain text without escape codes, and nothing is cut
(CLICOLOR_FORCE paints it nevertheless). On a terminal no line is longer than the terminal is wide.
Called by every command that prints for people.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import click

from holdfast.printable import columns, cut, one_line, pad
from holdfast.sizes import short

__all__ = ["one_line"]  # shared by all tables

NOTHING = "-"
LAST_COLUMN_MIN_WIDTH = 24  # a narrower column of sentences cannot be read
WIDTH_UNKNOWN = 80  # of a terminal that does not say
WIDTH_MIN = 20  # of a terminal; a narrower one wraps by itself
FIRST_COLUMN_MIN_WIDTH = 12


def duration(seconds: float | None) -> str:
    """`0.4s`, `12s`, `3m05s`, `2h07m`, `4d03h`."""
    if seconds is None or seconds < 0:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def size(count_bytes: float | None) -> str:
    """`812K`, `64M`, `1.5G`: decimal, as in holdfast.yaml."""
    return NOTHING if count_bytes is None else short(count_bytes)


def clock(at: float | None) -> str:
    """A wall time (seconds since the epoch) in the reader's time zone."""
    return NOTHING if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def coloured() -> bool:
    """Whether to paint: NO_COLOR forbids it, CLICOLOR_FORCE demands it, else only a terminal that can is painted."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and os.environ.get("CLICOLOR") != "0"


def paint(text: str, colour: str | None) -> str:
    return click.style(text, fg=colour) if colour and coloured() else text


def terminal_width() -> int | None:
    """Columns of the terminal on standard output; None when it is not one."""
    if not sys.stdout.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    try:
        found = int(told) if told.isdecimal() else os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        found = 0
    return max(found or WIDTH_UNKNOWN, WIDTH_MIN)


def wrap(text: str, room: int | None) -> list[str]:
    """`text` in lines of at most `room` columns (None: one line), broken between words; a word longer than that is
    cut. Text without words gives one empty line."""
    if room is None or columns(text) <= room:
        return [text]
    lines = [""]
    for word in text.split():
        fits = columns(lines[-1]) + 1 + columns(word) <= room
        if not lines[-1]:
            lines[-1] = cut(word, room)
        elif fits:
            lines[-1] += f" {word}"
        else:
            lines.append(cut(word, room))
    return lines


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    colours: Sequence[str | None] = (),
    drop: Sequence[str] = (),
    first_min: int = FIRST_COLUMN_MIN_WIDTH,
) -> list[str]:
    """Aligned lines. With `width` no line is longer: the last column, which holds sentences, is wrapped between words;
    before that columns are left out as `drop` names them (by header), and where there is still no room for sentences
    they stand below their row.

    `colours` paints whole rows, one entry a row. `first_min`: below so many columns the first is not cut.
    """
    widths = [max(columns(headers[i]), *(columns(row[i]) for row in rows), 0) for i in range(len(headers) - 1)]
    shown, below = list(range(len(widths))), False
    if width:
        shown, below = _kept(headers, widths, drop, width, first_min)
        if shown:
            over = _taken(widths, shown) - width + (-2 if below else LAST_COLUMN_MIN_WIDTH)
            narrowest = max(columns(headers[shown[0]]), min(first_min, widths[shown[0]]))
            widths[shown[0]] = max(narrowest, widths[shown[0]] - max(over, 0))
    indent = _taken(widths, shown)
    indent = 2 if below else indent
    room = None if width is None else width - indent
    lines = [_line(headers, widths, shown, "" if below else headers[-1], width)]
    for index, row in enumerate(rows):
        colour = colours[index] if index < len(colours) else None
        parts = wrap(row[-1], room)
        lines.append(paint(_line(row, widths, shown, "" if below else parts[0], width), colour))
        blank = " " * indent
        lines.extend(paint(blank + part, colour) for part in (parts if below else parts[1:]) if part)
    return lines


def _kept(
    headers: Sequence[str], widths: Sequence[int], drop: Sequence[str], width: int, first_min: int
) -> tuple[list[int], bool]:
    """Which columns but the last are shown in `width` columns, and whether the last one stands below."""
    shown: list[int] = []
    for below, room in ((False, width - LAST_COLUMN_MIN_WIDTH), (True, width + 2)):
        shown = list(range(len(widths)))
        for name in ("", *drop):
            shown = [i for i in shown if headers[i] != name]
            first = min(first_min - widths[0], 0) if shown else 0  # how far the first may shrink
            if _taken(widths, shown) + first <= room:
                return shown, below
    return shown, True


def _taken(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[i] + 2 for i in shown)


def _line(row: Sequence[str], widths: Sequence[int], shown: Sequence[int], last: str, width: int | None) -> str:
    cells = [row[i] for i in shown]
    if width is None and "".join(cells).isascii():  # as columns are characters: a thousand rows in a few milliseconds
        return ("%-*s  " * len(shown) % tuple([part for i in shown for part in (widths[i], row[i])]) + last).rstrip()
    if width is not None:
        cells = [cut(cell, widths[i]) for cell, i in zip(cells, shown, strict=True)]
    line = "  ".join([*(pad(cell, widths[i]) for cell, i in zip(cells, shown, strict=True)), last]).rstrip()
    return line if width is None else cut(line, width)
