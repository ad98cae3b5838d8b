"""Whether a text is JSON5: JSON with comments, trailing commas, bare keys, single quotes and more forms of numbers.

Pure. Invariant: it refuses only what no reader of JSON5 would take, for a file that is refused may be replaced by an
older one; so it is generous where readers differ. It builds nothing, and does not recurse. Called by validate.py.
"""

from __future__ import annotations

import re

_SPACE = re.compile(r"(?:[\s\ufeff]|//[^\n\r\u2028\u2029]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r"\"(?:[^\"\\\n\r]|\\(?:\r\n|.))*\"|'(?:[^'\\\n\r]|\\(?:\r\n|.))*'", re.DOTALL)
_WORD = re.compile(r"(?:[^\W\d]|[$\u200c\u200d]|\\u[0-9A-Fa-f]{4})(?:[\w$\u200c\u200d]|\\u[0-9A-Fa-f]{4})*")
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9A-Fa-f]+|Infinity|NaN|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w$])"
)  # leading zeros: refused by some readers only
_VALUES = ("true", "false", "null", "Infinity", "NaN")


class NotJson5(ValueError):
    """str() says what is wrong and in which line."""


def check(text: str) -> str:
    """What its value is: object, list or plain. Raises NotJson5."""
    return _Reader(text).whole()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> str:
        self._pass()
        if self._at == len(self._text):
            raise NotJson5("there is nothing in it")
        what = {"{": "object", "[": "list"}.get(self._text[self._at], "plain")
        open_: list[str] = []  # the closing bracket of each value we are inside of
        self._value(open_)
        while open_:
            self._after(open_)
        self._pass()
        if self._at < len(self._text):
            raise self._wrong("more than one value")
        return what

    def _after(self, open_: list[str]) -> None:
        """One step inside the innermost value: its next member, or its end. Stands behind a bracket or a member."""
        closing = open_[-1]
        first = self._text[self._at - 1] in "{[" and self._fresh
        self._pass()
        if not first and self._peek() == ",":
            self._at += 1
            self._pass()
        elif not first and self._peek() != closing:
            raise self._wrong(f"expected , or {closing}")
        if self._peek() == closing:
            self._at += 1
            open_.pop()
            self._fresh = False
            return
        if closing == "}":
            self._key()
        self._value(open_)

    _fresh = False  # the last thing read was an opening bracket

    def _key(self) -> None:
        found = _STRING.match(self._text, self._at) or _WORD.match(self._text, self._at)
        if found is None:
            raise self._wrong("expected a key")
        self._at = found.end()
        self._pass()
        if self._peek() != ":":
            raise self._wrong("expected :")
        self._at += 1
        self._pass()

    def _value(self, open_: list[str]) -> None:
        self._fresh = False
        sign = self._peek()
        if sign in ("{", "["):
            open_.append("}" if sign == "{" else "]")
            self._at += 1
            self._fresh = True
            return
        found = _STRING.match(self._text, self._at) or _NUMBER.match(self._text, self._at)
        if found is None:
            found = _WORD.match(self._text, self._at)
            if found is None or found[0] not in _VALUES:
                raise self._wrong("expected a value")
        self._at = found.end()

    def _pass(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found is not None else self._at

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _wrong(self, expected: str) -> NotJson5:
        if self._at >= len(self._text):
            return NotJson5("it is cut off: it ends in the middle")
        line = self._text.count("\n", 0, self._at) + 1
        return NotJson5(f"{expected} in line {line}")
