"""Incidents of the same kind: told apart by a fingerprint, counted, listed together. Pure.

Invariant: the fingerprint depends only on who, the kind of cause, and the function or exit, never on times or numbers
that differ from one occurrence to the next. Called by the post-mortem and the API.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from holdfast import limits
from holdfast.incidents.model import Incident

_NUMBERS = re.compile(r"\d+")
_REPLICA = re.compile(r"-\d+$")
_ANY_PROGRAM = frozenset({"", "process", "python", "node", "container"})


def fingerprint(agent: str, recipe: str, kind: str, what: str) -> str:
    """8 hex digits. `what`: the function it was stuck in, or its exit or cause in words.

    Agents of one recipe that stands for one program fail alike; of others, replicas of one agent do.
    """
    who = _REPLICA.sub("", agent) if recipe in _ANY_PROGRAM else recipe
    return hashlib.sha256("\n".join((who, kind, _NUMBERS.sub("#", what))).encode()).hexdigest()[:8]


def similar(incident: Incident, known: Iterable[Incident]) -> list[Incident]:
    """The earlier ones of the same kind, newest first."""
    if not incident.fingerprint:
        return []
    alike = [
        one
        for one in known
        if one.fingerprint == incident.fingerprint and one.id != incident.id and one.opened_at < incident.opened_at
    ]
    return sorted(alike, key=lambda one: -one.opened_at)


def within_window(incident: Incident, alike: Iterable[Incident]) -> int:
    """Which of this kind it is within SIMILAR_WINDOW_S: 1 is the first."""
    since = incident.opened_at - limits.SIMILAR_WINDOW_S
    return 1 + sum(1 for one in alike if one.opened_at >= since)


def groups(known: Iterable[Incident]) -> list[dict[str, Any]]:
    """One row for each kind, the one that occurred last at the end. Without a fingerprint each stands alone."""
    found: dict[str, list[Incident]] = {}
    for incident in known:
        found.setdefault(incident.fingerprint or incident.id, []).append(incident)
    rows = []
    for key, members in found.items():
        members.sort(key=lambda one: one.opened_at)
        last = members[-1]
        rows.append(
            {
                "key": key,
                "count": len(members),
                "first_at": round(members[0].opened_at, 3),
                "last_at": round(last.opened_at, 3),
                "last_id": last.id,
                "agents": sorted({one.agent for one in members})[:20],
                "kind": last.kind,
                "likely": last.likely,
                "open": sum(1 for one in members if one.closed_at is None),
            }
        )
    return sorted(rows, key=lambda row: float(str(row["last_at"])))


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
