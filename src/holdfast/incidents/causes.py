"""The most likely cause of an incident: a table of rules, first that holds. Pure.

Invariants: a rule holds only when it can show the lines it rests on; what no rule explains is called unknown, never
guessed. Each rule says how sure it is: certain (somebody said so), likely (the evidence fits this best), possible.
Called by the post-mortem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct

from holdfast.incidents.facts import Facts
from holdfast.incidents.model import Incident


class Case(NamedTuple):
    """What the rules look at."""

    incident: Incident
    facts: Facts


class Verdict(Struct, frozen=True, kw_only=True):
    """`because`: the lines of evidence it rests on."""

    kind: str
    sentence: str
    confidence: str
    because: tuple[str, ...] = ()


class Found(NamedTuple):
    """What a rule saw: words for its sentence, and its lines."""

    words: str
    lines: Sequence[str]


class Rule(NamedTuple):
    """`sentence` holds {words}."""

    name: str
    confidence: str
    sentence: str
    find: Callable[[Case], Found | None]


UNKNOWN = Verdict(
    kind="unknown", sentence="The cause is unknown: nothing that was found explains it.", confidence="none"
)


def judge(case: Case, rules: Sequence[Rule]) -> tuple[Verdict, tuple[Verdict, ...]]:
    """The most likely cause, and what else would fit."""
    held = []
    for rule in rules:
        found = rule.find(case)
        if found is not None:
            held.append(
                Verdict(
                    kind=rule.name,
                    sentence=rule.sentence.format(words=found.words),
                    confidence=rule.confidence,
                    because=tuple(found.lines)[:6],
                )
            )
    return (held[0], tuple(held[1:4])) if held else (UNKNOWN, ())


def log_lines(case: Case, pattern: re.Pattern[str], last: int = 50) -> list[str]:
    """The last lines that match, newest last."""
    return [line for line in case.incident.log_lines[-last:] if pattern.search(line)][-3:]


def from_log(pattern: str, last: int = 50) -> Callable[[Case], Found | None]:
    """A rule that rests on the agent's own words."""
    compiled = re.compile(pattern)

    def find(case: Case) -> Found | None:
        lines = log_lines(case, compiled, last)
        return Found(_clip(lines[-1].strip()), lines) if lines else None

    return find


def _clip(text: str, most: int = 160) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
