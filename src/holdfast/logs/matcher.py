"""A regular expression made fast for logs: whole blocks are searched at once, most dismissed unread.

Invariant: what matches is what would match line by line; whatever cannot be proved to be the same in a block is
searched line by line. Called by search.py and by followers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast.logs import gist
from holdfast.logs.gist import Gist, Needle

PATTERN_MAX_CHARS = 4096
MISSES_MAX = 64  # lines that hold a needle and do not match, more than do, before the gist is given up
# What could match a newline, with a form that cannot; a line holds none, so nothing else changes.
_WITHOUT_NEWLINE = {"s": r"[^\S\n]", "D": r"[^\d\n]", "W": r"[^\w\n]"}
_QUANTIFIERS = "*+?{"
_SINGLE = "dwSb"


class Matcher:
    """`matches` for one line, `hits` for a block of whole lines. Raises ValueError with words for a wrong pattern."""

    def __init__(self, pattern: str, *, ignore_case: bool = False, invert: bool = False) -> None:
        if len(pattern) > PATTERN_MAX_CHARS:
            raise ValueError(f"the pattern is longer than {PATTERN_MAX_CHARS} characters")
        self._invert = invert
        self._ignore_case = ignore_case
        flags = re.IGNORECASE if ignore_case else 0
        try:
            self._text = re.compile(pattern, flags)
            self._line = re.compile(pattern.encode(), flags)
            read = _read(pattern)
            self._block = re.compile(read[0].encode(), flags | re.MULTILINE) if read else None
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{ascii(pattern)[:80]} is no regular expression: {error}") from error
        except UnicodeEncodeError as error:
            raise ValueError("the pattern is not text") from error
        # Bytes would fold only ASCII letters, and would take characters of several bytes apart in classes.
        self._as_text = not pattern.isascii() and (ignore_case or read is None or "[" in pattern or "." in pattern)
        self._gists: list[Gist] = []
        if pattern.isascii():
            self._gists = gist.gists(pattern.encode(), ignore_case=ignore_case)
        elif read and read[1] and not ignore_case:
            self._gists = [(Needle(read[1].encode(), None, 0.0),)]

    def matches(self, line: bytes) -> bool:
        """Whether this line, without its newline, is wanted."""
        return self._found(line) != self._invert

    def hits(self, block: bytes) -> Iterator[tuple[int, int]]:
        """Start and end (without newline) of each wanted line. Lines end with a newline, the last one may lack it."""
        found = self._dismissing(block, 0)
        return _others(block, found) if self._invert else found

    def _found(self, line: bytes) -> bool:
        if self._as_text:
            return self._text.search(line.decode("utf-8", "replace")) is not None
        return self._line.search(line) is not None

    def _dismissing(self, block: bytes, position: int) -> Iterator[tuple[int, int]]:
        """From one needle to the next. A gist that says little here gives way to the next one, for good."""
        if not self._gists:
            yield from self._matching(block, position)
            return
        size, misses = len(block), 0
        within = [(needle.within(block), needle.text) for needle in self._gists[0]]
        places = [text.find(needle, position) for text, needle in within]
        while any(place >= 0 for place in places):
            place = min(place for place in places if place >= 0)
            start = block.rfind(b"\n", 0, place) + 1
            end = block.find(b"\n", place)
            end = size if end < 0 else end
            if self._found(block[start:end]):
                yield start, end
                misses -= 1
            else:
                misses += 1
            for number, (text, needle) in enumerate(within):
                if 0 <= places[number] <= end:
                    places[number] = text.find(needle, end + 1)
            if misses > MISSES_MAX:
                del self._gists[0]
                yield from self._dismissing(block, end + 1)
                return

    def _matching(self, block: bytes, position: int) -> Iterator[tuple[int, int]]:
        if self._block is None or self._as_text:
            for start, end in _lines(block, position):
                if self._found(block[start:end]):
                    yield start, end
            return
        size, search = len(block), self._block.search
        while position < size:
            match = search(block, position)
            if match is None or (match.start() == size and block.endswith(b"\n")):  # behind the last line
                return
            start = block.rfind(b"\n", 0, match.start()) + 1
            end = block.find(b"\n", match.start())
            end = size if end < 0 else end
            # One that runs over the end of the line says nothing about the line itself.
            if match.end() <= end or self._line.search(block[start:end]):
                yield start, end
            position = end + 1


def _lines(block: bytes, start: int = 0) -> Iterator[tuple[int, int]]:
    size = len(block)
    while start < size:
        end = block.find(b"\n", start)
        end = size if end < 0 else end
        yield start, end
        start = end + 1


def _others(block: bytes, found: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    wanted = next(found, None)
    for start, end in _lines(block):
        if wanted is not None and wanted[0] == start:
            wanted = next(found, None)
        else:
            yield start, end


def _read(pattern: str) -> tuple[str, str] | None:
    """The pattern so that it never matches a newline, and the longest text that each match must hold.

    None when that is not certain: the pattern is then used line by line.
    """
    written: list[str] = []
    literals: list[str] = []
    run = ""
    depth = place = 0
    while place < len(pattern):
        char, token = pattern[place], pattern[place]
        literal = ""
        if char == "\\":
            token = pattern[place : place + 2]
            escaped = token[1:]
            if not escaped or (escaped.isalnum() and escaped not in _WITHOUT_NEWLINE and escaped not in _SINGLE):
                return None
            literal = "" if escaped.isalnum() else escaped
            token_written = _WITHOUT_NEWLINE.get(escaped, token)
        elif char == "[":
            end = _class_end(pattern, place)
            if end is None:
                return None
            token = pattern[place:end]
            token_written = "[^\\n" + token[2:] if token.startswith("[^") else token
        elif char == "(":
            if pattern.startswith("(?", place) and not pattern.startswith("(?:", place):
                return None
            depth += 1
            token = token_written = "(?:" if pattern.startswith("(?:", place) else "("
        else:
            literal = "" if char in "^$.*+?{}|)" else char
            token_written = token
            if char == "|" and depth == 0:
                return _without_newlines(pattern)
            depth -= char == ")"
            if char == "{":
                end = pattern.find("}", place)
                if end > 0:
                    token = token_written = pattern[place : end + 1]
        written.append(token_written)
        place += len(token)
        optional = place < len(pattern) and pattern[place] in _QUANTIFIERS
        if literal and depth == 0 and not optional:
            run += literal
        else:
            literals.append(run)
            run = ""
    literals.append(run)
    return "".join(written), max(literals, key=len)


def _without_newlines(pattern: str) -> tuple[str, str] | None:
    """A pattern of alternatives: each read by itself, without a common text."""
    parts, depth, start, place = [], 0, 0, 0
    while place < len(pattern):
        char = pattern[place]
        if char == "\\":
            place += 1
        elif char == "[":
            end = _class_end(pattern, place)
            if end is None:
                return None
            place = end - 1
        elif char == "|" and depth == 0:
            parts.append(pattern[start:place])
            start = place + 1
        depth += (char == "(") - (char == ")")
        place += 1
    read = [_read(part) for part in (*parts, pattern[start:])]
    return None if None in read else ("|".join(one[0] for one in read if one), "")


def _class_end(pattern: str, start: int) -> int | None:
    """Behind the `]` of the class at `start`; None: not certain, or it could match a newline."""
    place = start + 1
    negated = pattern[place : place + 1] == "^"
    place += negated
    if pattern[place : place + 1] == "]":
        return None
    while place < len(pattern) and pattern[place] != "]":
        if pattern[place] == "[":
            return None
        if pattern[place] == "\\":
            place += 1
            if not negated and pattern[place : place + 1] in tuple("sDWnxu0"):
                return None
            if pattern[place : place + 1].isalnum() and pattern[place] not in "sdwSDWtnr":
                return None
        place += 1
    return place + 1 if place < len(pattern) else None
