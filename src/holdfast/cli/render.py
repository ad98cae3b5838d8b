"""Values as people read them: durations, sizes, times, aligned tables. Pure but for asking the terminal's width.

Invariant: without a terminal, or with NO_COLOR, the output is plain text without escape codes, and nothing is cut.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence

import click

NOTHING = "-"
LAST_COLUMN_MIN_WIDTH = 24  # a narrower column of sentences cannot be read


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
    """`812K`, `64M`, `1.5G`: powers of 1024."""
    if count_bytes is None:
        return NOTHING
    value = float(count_bytes)
    for unit in ("B", "K", "M", "G"):
        if value < 1024:
            return f"{value:.1f}{unit}" if value < 10 and unit not in "BK" else f"{value:.0f}{unit}"
        value /= 1024
    return f"{value:.1f}T"


def clock(at: float | None) -> str:
    """A wall time (seconds since the epoch) in the reader's time zone."""
    return NOTHING if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str | None) -> str:
    return click.style(text, fg=colour) if colour and coloured() else text


def terminal_width() -> int | None:
    """Columns of the terminal on standard output; None when it is not one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    colours: Sequence[str | None] = (),
) -> list[str]:
    """Aligned lines. The last column is wrapped into `width` columns when given, else never cut.

    `colours` paints whole rows, one entry a row.
    """
    cells = [[str(value) for value in row] for row in rows]
    fixed = [max(len(column[i]) for column in [list(headers), *cells]) for i in range(len(headers) - 1)]
    indent = sum(fixed) + 2 * len(fixed)
    room = max(width - indent, LAST_COLUMN_MIN_WIDTH) if width else None
    lines = [_line(headers, fixed)]
    for index, row in enumerate(cells):
        parts = textwrap.wrap(row[-1], room) if room else [row[-1]]
        colour = colours[index] if index < len(colours) else None
        lines.append(paint(_line([*row[:-1], parts[0] if parts else ""], fixed), colour))
        lines.extend(paint(" " * indent + part, colour) for part in parts[1:])
    return lines


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    head = [value.ljust(width) for value, width in zip(row, widths, strict=False)]
    return "  ".join([*head, row[-1]]).rstrip()


def one_line(value: object) -> str:
    """Any text on one line, without control characters: what agents print must not steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in str(value)).strip()
