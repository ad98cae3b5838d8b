"""Restarting agents one after the other: which may be restarted now, and when to stop. Pure.

Invariant: never more than `at_once` agents are away at a time through us; the next is begun only when enough of those
before have come back and stayed well for `settle_s`; the first that does not come back ends it, and what was not
begun is not touched. The keeper carries out each restart by itself: whoever dies here leaves at most `at_once`
restarts under way, which the keeper finishes, and the rest as it was. Called by lifecycle.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from holdfast.limits import CONFIRM_S

# Phases in which an agent is as it should be; a degraded one works.
WELL = frozenset({"healthy", "degraded", "finished", "hibernating", "spare"})
# Phases that say the ladder had to act: this restart failed.
FAILED = frozenset({"unhealthy", "backoff", "escalated"})
GONE_OR_DOWN = frozenset({"stopped"})

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Away:
    """One agent that was told to restart. `instance`, `restarts`: what it had before."""

    name: str
    instance: int
    restarts: int
    since_mono: float
    well_since_mono: float | None = None


@dataclass(frozen=True, slots=True)
class Roll:
    """Where the whole thing stands. `failed` with `why` ends it."""

    waiting: tuple[str, ...]
    away: tuple[Away, ...] = ()
    back: tuple[str, ...] = ()
    failed: str = ""
    why: str = ""

    @property
    def is_over(self) -> bool:
        return bool(self.failed) or not (self.waiting or self.away)


@dataclass(frozen=True, slots=True)
class Terms:
    at_once: int = 1
    settle_s: float = 3.0
    timeout_s: float = 300.0  # for each agent


def look(state: Roll, rows: Mapping[str, Row], terms: Terms, now_mono: float) -> Roll:
    """The state after one look at the fleet."""
    away: list[Away] = []
    back = list(state.back)
    for one in state.away:
        row = rows.get(one.name)
        why = _why_failed(one, row, terms, now_mono)
        if why:
            return replace(state, failed=one.name, why=why)
        assert row is not None
        since = one.well_since_mono
        if not _is_well(row) or row["instance"] <= one.instance:
            since = None
        elif since is None:
            since = now_mono
        if since is not None and (now_mono - since >= terms.settle_s or row["phase"] == "finished"):
            back.append(one.name)
        else:
            away.append(replace(one, well_since_mono=since))
    return replace(state, away=tuple(away), back=tuple(back))


def _is_well(row: Row) -> bool:
    """One that was ill before its restart recovers for long: good for CONFIRM_S is enough to go on."""
    good_for_long = row["phase"] == "recovering" and (row.get("good_s") or 0.0) >= CONFIRM_S
    return row["phase"] in WELL or good_for_long


def due(state: Roll, terms: Terms) -> tuple[str, ...]:
    """Whom to restart now."""
    return () if state.is_over else state.waiting[: max(0, terms.at_once - len(state.away))]


def begun(state: Roll, row: Row, now_mono: float) -> Roll:
    """`row` as it was right before its restart was asked for."""
    one = Away(row["name"], row["instance"], row["restarts"], now_mono)
    return replace(state, waiting=tuple(n for n in state.waiting if n != one.name), away=(*state.away, one))


def _why_failed(one: Away, row: Row | None, terms: Terms, now_mono: float) -> str:
    if row is None:
        return "it was taken out of the fleet"
    phase = row["phase"]
    if row["instance"] > one.instance and (phase in FAILED or row["restarts"] > one.restarts):
        return str(row.get("why") or phase)
    if phase in GONE_OR_DOWN:
        return "somebody stopped it"
    if now_mono - one.since_mono >= terms.timeout_s:
        return f"not well {terms.timeout_s:g} s after it was told to restart ({row.get('why') or phase})"
    return ""
