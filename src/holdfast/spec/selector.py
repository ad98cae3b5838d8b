"""Label selectors: `team=x`, `team!=x`, `team in (a, b)`, `team notin (a, b)`, `team`, `!team`; a comma means "and".

Invariant: pure and total: any text gives a Selector or a ValueError whose text says what is wrong and where. As on
Kubernetes, `team!=x` and `notin` also choose what has no label `team`. Called by every command with -l/--selector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SELECTOR_MAX_CHARS = 4096  # typed by hand; more is a wrong variable in a script
FORMS = "team=x, team!=x, team in (a, b), team notin (a, b), team, !team; a comma means and"

# A value ends at what could be grammar; labels with such characters cannot be chosen by value.
_WORD = r"[^\s,()=!]+"
_SPLIT = re.compile(r",(?![^(]*\))")
_EQUALS = re.compile(rf"({_WORD})\s*(==|=|!=)\s*({_WORD})?")
_AMONG = re.compile(rf"({_WORD})\s+(in|notin)\s*\(([^()]*)\)")
_BARE = re.compile(rf"(!)?\s*({_WORD})")


@dataclass(frozen=True, slots=True)
class Term:
    """One demand on one label. "is" and "is not" hold for any of `values`; "has" and "has not" need none."""

    key: str
    demand: Literal["is", "is not", "has", "has not"]
    values: frozenset[str] = frozenset()

    def holds(self, labels: Mapping[str, str]) -> bool:
        if self.demand == "has":
            return self.key in labels
        if self.demand == "has not":
            return self.key not in labels
        among = self.key in labels and labels[self.key] in self.values
        return among if self.demand == "is" else not among


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its terms must hold. Without terms it chooses everything, but `parse` never gives such a one."""

    terms: tuple[Term, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(term.holds(labels) for term in self.terms)


def parse(text: str) -> Selector:
    """Raises ValueError with one line of words for whoever typed it."""
    if len(text) > SELECTOR_MAX_CHARS:
        raise ValueError(f"the selector is longer than {SELECTOR_MAX_CHARS} characters")
    if not text.strip():
        raise ValueError(f"the selector is empty; write one such as {FORMS}")
    return Selector(tuple(_term(part.strip()) for part in _SPLIT.split(text)))


def matches(selector: Selector | str, labels: Mapping[str, str]) -> bool:
    """Whether an agent with `labels` is chosen. Text is parsed first and raises ValueError as `parse` does."""
    return (parse(selector) if isinstance(selector, str) else selector).matches(labels)


def _term(part: str) -> Term:
    if not part:
        raise ValueError("nothing stands between two commas, or before the first or after the last")
    if match := _AMONG.fullmatch(part):
        values = [value.strip() for value in match[3].split(",")]
        wrong = next((value for value in values if not re.fullmatch(_WORD, value)), None)
        if wrong is not None:
            found = ascii(wrong) if wrong else "nothing"
            raise ValueError(f"in {_shown(part)}: found {found} where a value is expected")
        return Term(match[1], "is" if match[2] == "in" else "is not", frozenset(values))
    if match := _EQUALS.fullmatch(part):
        return Term(match[1], "is not" if match[2] == "!=" else "is", frozenset((match[3] or "",)))
    if match := _BARE.fullmatch(part):
        return Term(match[2], "has not" if match[1] else "has")
    if part.count("(") != part.count(")"):
        raise ValueError(f"in {_shown(part)}: a parenthesis is not closed or not opened")
    raise ValueError(f"{_shown(part)} is no selector; the forms are {FORMS}")


def _shown(part: str) -> str:
    return ascii(part if len(part) <= 60 else part[:57] + "...")
