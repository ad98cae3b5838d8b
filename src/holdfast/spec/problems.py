"""What is wrong in a file a user wrote: one line each, all of them together.

Invariant: a problem always names file, line and field, what was found and what was expected; its text is one line
and holds no control characters. Called by every reader of this package; raised once, by `load`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast import errors, limits
from holdfast.sizes import counted

SHOWN_MAX_CHARS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of the answer. `severity` is "error" or "warning"; `line` counts from 1."""

    file: str
    line: int
    field: str
    found: str
    expected: str
    meant: str = ""
    severity: str = "error"

    @property
    def text(self) -> str:
        """`FILE:LINE: field: found X, expected Y, did you mean Z`."""
        tail = f", did you mean {self.meant}" if self.meant else ""
        return f"{self.file}:{self.line}: {self.field}: found {self.found}, expected {self.expected}{tail}"


@dataclass(slots=True)
class Problems:
    """The collector handed through one reading. The same problem met twice (by a template) is kept once."""

    file: str
    found: dict[Problem, None] = field(default_factory=dict)

    def add(
        self,
        line: int,
        field_name: str,
        found: str,
        expected: str,
        meant: str = "",
        *,
        file: str | None = None,
        severity: str = "error",
    ) -> None:
        one = Problem(
            file=one_line(file or self.file),
            line=line,
            field=one_line(field_name),
            found=one_line(found),
            expected=one_line(expected),
            meant=one_line(meant),
            severity=severity,
        )
        self.found[one] = None

    def __bool__(self) -> bool:
        return bool(self.found)

    def sorted(self) -> list[Problem]:
        """In the order of the file; other files (env files) after it."""
        return sorted(self.found, key=lambda one: (one.file != one_line(self.file), one.file, one.line))

    def raise_if_any(self) -> None:
        """Raises HoldfastError SPEC_INVALID with every problem, at most SPEC_PROBLEMS_SHOWN of them as lines."""
        if not self.found:
            return
        ordered = self.sorted()
        lines = [one.text for one in ordered[: limits.SPEC_PROBLEMS_SHOWN]]
        if len(ordered) > len(lines):
            lines.append(f"... and {len(ordered) - len(lines)} more")
        raise errors.HoldfastError(
            errors.SPEC_INVALID,
            file=self.file,
            errors=counted(len(ordered), "error"),
            count=len(ordered),
            problems="\n".join(lines),
            items=tuple(ordered),
        )


def show(text: str) -> str:
    """Text as a user may read it in a message: quoted, escaped, cut."""
    return show_path(text if len(text) <= SHOWN_MAX_CHARS else text[: SHOWN_MAX_CHARS - 3] + "...")


def show_path(path: str) -> str:
    """A path in a message: quoted and escaped, never cut."""
    return json.dumps(path, ensure_ascii=not path.isprintable())


def one_line(text: str) -> str:
    """Text with everything escaped that could break or forge a line."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or an empty string."""
    by_lower = {one.lower(): one for one in sorted(known)}
    if word.lower() in by_lower:
        return by_lower[word.lower()]
    close = difflib.get_close_matches(word.lower()[:100], by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else ""
