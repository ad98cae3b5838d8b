"""What a restore under way is, which snapshot the ladder takes, and when a restored agent has proved itself. Pure.

Invariant: what stands here is in the ledger before the act that it announces, so that the next keeper goes on with it.
Called by restoring.py, agent.py (a part of Memory) and recall.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

from holdfast import limits
from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper.telling.words import span
from holdfast.state.looking.choose import KNOWN_GOOD


class Stage(StrEnum):
    """How far it is. Before EXCHANGE nothing has to be remembered: what was built is taken away."""

    EXCHANGE = "exchange"  # the agent is stopped, and the trees change places
    PROBATION = "probation"  # the agent runs, or may, on the restored state; the former one is kept
    BACK = "back"  # the former state returns


class By(StrEnum):
    PERSON = "person"
    LADDER = "ladder"  # tier 3


class Restoration(Struct, frozen=True, kw_only=True):
    """One restore, from its stop to its end. `lost_s`: from the snapshot to the stop.

    `before`: id of the snapshot of what was replaced, "" when there is none: the old trees are kept then. `instance`:
    the last one before the exchange. `damage`: what was found broken in the former state, one clause; such a state does
    not return.
    """

    snapshot: str
    at: float
    by: By
    stage: Stage = Stage.EXCHANGE
    began_at: float = 0.0
    path: str = ""
    before: str = ""
    lost_s: float = 0.0
    instance: int = 0
    deaths: int = 0  # since the exchange, before it proved itself
    damage: str = ""
    incident: str = ""
    trees: tuple[str, ...] = ()
    left_behind: bool = False  # the old trees hold something that is in no snapshot

    @property
    def short(self) -> str:
        return self.snapshot[:12]


def of_intent(left: dict[str, Any]) -> Restoration:
    """A restore of which only its intent is known, as the worker's jobs tell it."""
    return Restoration(snapshot=str(left.get("snapshot", "")), at=float(left.get("at", 0.0)), by=By.PERSON)


class Undone(Exception):
    """The restore did not take place; all is as it was. str(): why, one clause."""


class Verdict(StrEnum):
    WAIT = "wait"
    KEEP = "keep"  # it is well: the former state is not needed
    BACK = "back"  # it does not get well: the former state returns


_UNDER_FAILURE = frozenset({Phase.UNHEALTHY, Phase.RECOVERING, Phase.BACKOFF, Phase.ESCALATED})


def judge(one: Restoration, ladder: Ladder, policy: Policy, now_mono: float) -> tuple[Verdict, str]:
    """(what to do with a restore in probation, why in a clause)."""
    if one.stage is not Stage.PROBATION or policy.hands_off:
        return Verdict.WAIT, ""
    if ladder.phase is Phase.FINISHED and ladder.instance > one.instance:
        return Verdict.KEEP, ""
    if not ladder.wanted:
        return Verdict.WAIT, ""
    if ladder.instance <= one.instance:
        if ladder.phase is Phase.ESCALATED and ladder.alerted:
            return _gave_up(one)
        return Verdict.WAIT, ""
    since = ladder.good_since_mono
    if ladder.running and ladder.gate_passed and since is not None and now_mono >= since + policy.confirm_s:
        return Verdict.KEEP, ""
    if one.deaths >= limits.RESTORE_DEATHS_MAX and one.by is By.PERSON:
        return Verdict.BACK, f"it died {one.deaths} times before it had proved itself"
    if ladder.phase is Phase.ESCALATED and since is None:
        return _gave_up(one)
    struck_out = ladder.running and not ladder.gate_passed and ladder.phase in _UNDER_FAILURE
    if struck_out and one.by is By.PERSON:
        return Verdict.BACK, "it did not pass its start gate in time"
    return Verdict.WAIT, ""


def _gave_up(one: Restoration) -> tuple[Verdict, str]:
    """The ladder came to its end. A state that is known to be broken is no better."""
    if one.by is By.LADDER and one.damage:
        return Verdict.WAIT, ""
    return Verdict.BACK, "it could not be healed on it"


def is_well(ladder: Ladder) -> bool:
    """Whether it runs and has passed its gate."""
    return ladder.running and ladder.gate_passed


def choices(rows: Iterable[dict[str, Any]], fault_at: float) -> list[dict[str, Any]]:
    """Snapshots that tier 3 may take, the best first: known-good ones, then those from before the first fault.

    Of the others one in each stretch of time that doubles, so that an old enough one is among the few that are tried.
    What was kept because a restore replaced it is none. Wall clocks may be wrong: order is that of their numbers.
    """
    fit = [
        row for row in rows if not row.get("damaged") and not row.get("deleted_until") and row.get("cause") != "restore"
    ]
    fit.sort(key=lambda row: int(row.get("seq", 0)), reverse=True)
    good = [row for row in fit if KNOWN_GOOD in row.get("pins", ())]
    older = [row for row in fit if row not in good and float(row["at"]) < fault_at]
    return [*good, *_spread(older, fault_at)][: limits.RESTORE_CHOICES_MAX]


def _spread(rows: Sequence[dict[str, Any]], fault_at: float) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = []
    for row in rows:
        if not kept or fault_at - float(row["at"]) >= 2 * max(60.0, fault_at - float(kept[-1]["at"])):
            kept.append(row)
    if rows and rows[-1] not in kept:
        kept.append(rows[-1])
    return kept


def stamp(at: float) -> str:
    """A moment as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def restored(one: Restoration, notes: Sequence[object]) -> str:
    """What the ledger says of an exchange that was done."""
    text = f"its state is that of {stamp(one.at)} again (snapshot {one.short}); {span(one.lost_s)} of it are lost"
    if one.trees:
        text += f"; what was there is kept at {', '.join(one.trees)}"
    return text + "".join(f"; {note}" for note in notes)


def healed(one: Restoration) -> str:
    """What the post-mortem says of tier 3."""
    text = f"restored its state from snapshot {one.short} of {stamp(one.at)} ("
    text += f"{one.damage or 'the restarts did not help'}); {span(one.lost_s)} of it are lost"
    return text + (f"; the former state is kept at {', '.join(one.trees)}" if one.trees else "")


def told(one: Restoration) -> str:
    """The value of HOLDFAST_RESTORED_FROM: the snapshot and its time."""
    return f"{one.snapshot} {stamp(one.at)}"
