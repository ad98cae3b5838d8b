"""What every match of a regular expression must hold, found by plain search: texts, or runs of classes of bytes.

Invariant: a line that holds none of a gist's needles cannot match; nothing is said about the others. `[0-9]{4}ms`
must hold four digits and "ms": when each digit is read as "0" that is the text 0000ms. Pure. Called by matcher.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

RUN_MAX = 32  # bytes of a needle: longer ones dismiss no more
ALTERNATIVES_MAX = 8  # each is a search of its own
BITS_MIN = 12.0  # what says less is found nearly everywhere
CHOICES_MAX = 3
NEWLINE = 10

Bytes = frozenset[int]
_WORD = Bytes(byte for byte in range(128) if chr(byte).isalnum() or byte == ord("_"))
_CATEGORIES = {"DIGIT": Bytes(b"0123456789"), "SPACE": Bytes(b" \t\r\f\v\n"), "WORD": _WORD}


class Needle(NamedTuple):
    """`text` is to be found in what `table` makes of the bytes; None: in the bytes themselves."""

    text: bytes
    table: bytes | None
    bits: float  # how much it says

    def within(self, block: bytes) -> bytes:
        """The block as this needle is searched in it: of the same length."""
        return block if self.table is None else block.translate(self.table)


Gist = tuple[Needle, ...]
"""Each match holds at least one of them."""


def gists(pattern: bytes, *, ignore_case: bool) -> list[Gist]:
    """What can be said of each match, what says most first. Empty: nothing."""
    try:
        from re import _parser  # type: ignore[attr-defined]

        parsed = _parser.parse(pattern, re.IGNORECASE if ignore_case else 0)
    except (ImportError, AttributeError, re.error, RecursionError, OverflowError):
        return []
    if parsed.state.flags & ~(re.IGNORECASE if ignore_case else 0):
        return []  # (?x) and the like: the parts do not mean what they seem to
    found = [one for one in _Walk(ignore_case).all(parsed) if _bits(one) >= BITS_MIN]
    return sorted(found, key=_bits, reverse=True)[:CHOICES_MAX]


class _Walk:
    """Goes through one sequence and gathers runs of single bytes."""

    def __init__(self, ignore_case: bool) -> None:
        self._ignore_case = ignore_case
        self._run: list[Bytes] = []
        self._found: list[Gist] = []

    def all(self, sequence: Iterable[Any]) -> list[Gist]:
        self._sequence(sequence)
        self._end_run()
        return self._found

    def _sequence(self, sequence: Iterable[Any]) -> None:
        for operation, argument in sequence:
            name = str(operation)
            single = self._single(name, argument)
            if single is not None:
                self._run.append(single)
            elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
                self._repeat(*argument)
            elif name == "SUBPATTERN":
                _, added, removed, inner = argument
                self._end_run() if added or removed else self._sequence(inner)
            elif name == "BRANCH":
                self._branch(argument[1])
            elif name not in ("AT", "ASSERT", "ASSERT_NOT"):  # these take no byte: what stands around them adjoins
                self._end_run()

    def _repeat(self, least: int, most: int, inner: Any) -> None:
        parts = list(inner)
        single = self._single(str(parts[0][0]), parts[0][1]) if len(parts) == 1 else None
        if single is None or not least:
            self._end_run()
            if least:
                self._sequence(inner)
                self._end_run()
            return
        self._run += [single] * min(least, RUN_MAX)
        if most != least:
            self._end_run()
            self._run = [single] * min(least, RUN_MAX)  # the last ones adjoin what follows

    def _branch(self, alternatives: Sequence[Any]) -> None:
        self._end_run()
        each = [max(_Walk(self._ignore_case).all(one), key=_bits, default=()) for one in alternatives]
        together = tuple(needle for found in each for needle in found)
        if all(each) and len(together) <= ALTERNATIVES_MAX:
            self._found.append(together)

    def _end_run(self) -> None:
        for part in _windows(self._run[: 4 * RUN_MAX]):
            self._found.append((_needle(part),))
        self._run = []

    def _single(self, name: str, argument: Any) -> Bytes | None:
        """The bytes that one token stands for; None when it is not one byte."""
        if name == "LITERAL":
            found: Bytes | None = Bytes((argument,))
        elif name == "IN":
            found = _class_of(argument)
        else:
            return None
        if found is None or NEWLINE in found:
            return None
        return _both_cases(found) if self._ignore_case else found


def _class_of(items: Sequence[Any]) -> Bytes | None:
    found: set[int] = set()
    negated = False
    for operation, argument in items:
        name = str(operation)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            found.add(argument)
        elif name == "RANGE":
            found.update(range(argument[0], argument[1] + 1))
        elif name == "CATEGORY" and (known := _CATEGORIES.get(str(argument).removeprefix("CATEGORY_"))) is not None:
            found |= known
        else:
            return None
    return None if negated else Bytes(found)  # almost every byte is no hint


def _both_cases(found: Bytes) -> Bytes:
    return Bytes(byte for one in found for byte in (*bytes((one,)).lower(), *bytes((one,)).upper()))


def _windows(run: list[Bytes]) -> list[list[Bytes]]:
    """Stretches of a run in which any two classes are the same or have nothing in common, none within another."""
    found: list[list[Bytes]] = []
    start = 0
    for end in range(1, len(run) + 1):
        clash = [place for place in range(start, end - 1) if run[place] != run[end - 1] and run[place] & run[end - 1]]
        if clash or end - start > RUN_MAX:
            found.append(run[start : end - 1])
            start = max(clash) + 1 if clash else end - RUN_MAX
    return [*found, run[start:]] if start < len(run) else found


def _needle(part: list[Bytes]) -> Needle:
    table = bytearray(range(256))
    for one in part:
        for byte in one:
            table[byte] = min(one)
    bits = sum(math.log2(256 / len(one)) for one in part)
    plain = all(len(one) == 1 for one in part)
    return Needle(bytes(min(one) for one in part), None if plain else bytes(table), bits)


def _bits(found: Gist) -> float:
    """Of alternatives, the one that says the least counts."""
    return min(needle.bits for needle in found)
