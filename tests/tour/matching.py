"""Whether a command printed what the tour says. Pure.

The whole output is compared. "…" in a line stands for anything, "…" on a line of its own for any lines; how many blanks
stand between words does not count, for columns are as wide as what is in them. Called by tests/e2e/test_tour.py.
"""

from __future__ import annotations

import re

ANY = "…"


def matches(pattern: str, printed: str) -> bool:
    """Whether all of `printed` is what `pattern` says."""
    expression = "".join(_line(line) for line in _lines(pattern))
    return re.fullmatch(expression, "".join(f"{line}\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _line(line: str) -> str:
    if line == ANY:
        return r"(?:.*\n)*?"
    return ".*?".join(re.escape(part) for part in line.split(ANY)) + r"\n"
