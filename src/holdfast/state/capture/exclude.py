"""What is left out of snapshots: patterns as in .gitignore, seen from each state path.

`cache/` any directory of that name · `*.log` any such name · `/top` only directly below the state path · `a/b` and
`a/**/b` from the state path on · `!keep.log` takes back what a former line left out (nothing inside a directory that is
left out). The last line that fits decides. Pure. Called by the walk, and by who checks a definition.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache

_ONE_CHARACTER = r"(?:[\xc2-\xf4][\x80-\xbf]{1,3}|[^/])"  # of UTF-8, or one byte


class BadPattern(ValueError):
    """str() says which pattern and why."""


class Exclusion:
    """Patterns, ready to ask. `paths` are bytes below the state path, without a leading slash."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises BadPattern."""
        self.patterns = tuple(patterns)
        # Neighbours that say the same are one expression; asked from the last to the first, the first to fit decides.
        runs: list[tuple[bool, list[str], list[str]]] = []
        for text in self.patterns:
            parsed = _parse(text)
            if parsed is None:
                continue
            keeps, only_directories, expression = parsed
            if not runs or runs[-1][0] != keeps:
                runs.append((keeps, [], []))
            if not only_directories:
                runs[-1][1].append(expression)
            runs[-1][2].append(expression)
        self._runs = [(keeps, _joined(files), _joined(directories)) for keeps, files, directories in reversed(runs)]

    def __bool__(self) -> bool:
        return bool(self._runs)

    def leaves_out(self, path: bytes, *, directory: bool) -> bool:
        """Whether this name is left out; its parents are not, or nobody would ask."""
        for keeps, files, directories in self._runs:
            expression = directories if directory else files
            if expression is not None and expression.fullmatch(path):
                return not keeps
        return False


@lru_cache(maxsize=64)
def exclusion(patterns: tuple[str, ...]) -> Exclusion:
    """The same patterns come back with each snapshot. Raises BadPattern."""
    return Exclusion(patterns)


def _joined(expressions: list[str]) -> re.Pattern[bytes] | None:
    return re.compile(os.fsencode("|".join(expressions)), re.DOTALL) if expressions else None


def _parse(text: str) -> tuple[bool, bool, str] | None:
    """(takes back, only directories, regular expression), or None for a blank line or a comment."""
    line = text.rstrip("\r\n")
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    if not line or line.startswith("#"):
        return None
    keeps = line.startswith("!")
    if keeps:
        line = line[1:]
    only_directories = line.endswith("/")
    line = line.rstrip("/")
    if line.startswith("./"):
        line = line[1:]
    anchored = "/" in line
    line = line.lstrip("/")
    if not line or "\0" in line or ".." in line.split("/"):
        raise BadPattern(f"'{text}' names nothing below a state path")
    parts = line.split("/")
    expression = ("" if anchored else "(?:.*/)?") + _expression(parts, text)
    try:
        re.compile(os.fsencode(expression))
    except re.error as e:
        raise BadPattern(f"'{text}' is no pattern: {e}") from e
    return keeps, only_directories, expression


def _expression(parts: list[str], text: str) -> str:
    """The parts of a path joined; `**` alone is any number of directories, at the end everything inside."""
    out = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            out += ".+" if last else "(?:.*/)?"
        else:
            out += _name_expression(part, text) + ("" if last else "/")
    return out


def _name_expression(part: str, text: str) -> str:
    out = ""
    at = 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            while at < len(part) and part[at] == "*":
                at += 1
            out += "[^/]*"
        elif char == "?":
            out += _ONE_CHARACTER
        elif char == "[":
            taken, expression = _set_expression(part, at)
            out += expression
            at = taken
        elif char == "\\":
            if at == len(part):
                raise BadPattern(f"'{text}' ends with a backslash")
            out += _literal(part[at])
            at += 1
        else:
            out += _literal(char)
    return out


def _set_expression(part: str, at: int) -> tuple[int, str]:
    """A set `[…]` from behind its bracket on: (where it ends, its expression). A lone bracket is itself."""
    start = at
    if at < len(part) and part[at] in "!^":
        at += 1
    first = at
    while at < len(part) and (part[at] != "]" or at == first):
        at += 1
    if at >= len(part):
        return start, re.escape("[")
    inner = part[first:at]
    if not inner.isascii():  # a set of bytes cannot hold characters of several
        one_of = "|".join(_literal(char) for char in inner)
        return at + 1, f"(?:{one_of})" if first == start else f"(?!{one_of}){_ONE_CHARACTER}"
    safe = inner.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("^", "\\^")
    for twice in ("&&", "~~", "||", "--"):
        safe = safe.replace(twice, f"{twice[0]}\\{twice[0]}")
    return at + 1, f"(?!/)[{'^' if first != start else ''}{safe}]"


def _literal(char: str) -> str:
    return re.escape(char)
