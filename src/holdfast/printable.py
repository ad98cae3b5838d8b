"""Text from agents, made fit for a terminal: no escape codes, no control characters, no hidden direction marks.

Invariant: what comes out holds printable characters only (and, in a log line, tabs), whatever went in; so that no
agent can move the cursor, set the window's title, forge a line or hide one. Widths are terminal columns: wide
characters count two, combining ones none. Pure; called by everything that shows what an agent said.
"""

from __future__ import annotations

import re
from functools import lru_cache

# One whole escape sequence: CSI (colours, cursor), OSC/DCS/APC/PM/SOS strings up to their end, or a two-byte one.
# A string that never ends is taken up to the end of the line only. C1 forms (one byte 0x80-0x9f) too.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
_COLOUR = re.compile(r"(?:\x1b\[|\x9b)[0-9;:]*m")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_SPACES = re.compile(r" {2,}")
ELLIPSIS = "…"


def one_line(value: object, max_columns: int | None = None) -> str:
    """`value` as one line for a table or a sentence: escape sequences vanish, all else unprintable becomes a space.

    With `max_columns` it is cut to that many, ending in an ellipsis.
    """
    text = str(value)
    if not text.isprintable():
        text = _ESCAPE.sub("", text)
        text = _SPACES.sub(" ", "".join(char if char.isprintable() else " " for char in text))
    text = text.strip()
    return text if max_columns is None else cut(text, max_columns)


def log_line(text: str) -> str:
    """A line an agent printed, without its line end: colours vanish, tabs stay, all else unprintable is shown escaped.

    Nothing but colours is left out, so that a person sees what is there: `\\x1b[2J`, `\\u202e`.
    """
    text = text.rstrip("\r\n")
    if text.isprintable():
        return text
    text = _COLOUR.sub("", text)
    return "".join(char if char.isprintable() or char == "\t" else _escaped(char) for char in text)


def columns(text: str) -> int:
    """How many terminal columns `text` takes; it should be printable."""
    if text.isascii():
        return len(text)
    return len(text) + sum([_columns_of(char) - 1 for char in _BEYOND_ASCII.findall(text)])


def cut(text: str, max_columns: int) -> str:
    """`text` in at most `max_columns` columns, the last of them an ellipsis where something was cut off."""
    if max_columns <= 0:
        return ""
    if columns(text) <= max_columns:
        return text
    kept, used = 0, 1  # one column for the ellipsis
    for char in text:
        used += _columns_of(char)
        if used > max_columns:
            break
        kept += 1
    return text[:kept].rstrip() + ELLIPSIS


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled up with spaces to `width` columns; `right`: aligned to the right."""
    blanks = " " * max(0, width - columns(text))
    return blanks + text if right else text + blanks


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@lru_cache(maxsize=4096)
def _columns_of(char: str) -> int:
    if char.isascii():
        return 1
    import unicodedata  # only texts beyond ASCII need its tables

    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
