"""One incident: from the first bad observation to validated recovery, or to a person. Data and its arithmetic.

Invariant: what is here comes from ledger records and observations only, so that replaying the ledger gives the
same incident again. The keeper changes incidents; `render.py` writes them for people.
"""

from __future__ import annotations

import hashlib
import time
from enum import StrEnum

from msgspec import Struct

from holdfast import limits


class Outcome(StrEnum):
    RECOVERED = "recovered"
    ESCALATED = "escalated"  # in a person's hands: an alert was raised, or a person stopped the agent
    OPEN = "open"


class Moment(Struct, frozen=True):
    """One line of the timeline."""

    at: float
    text: str


class Incident(Struct, kw_only=True):
    """Times `*_mono` are seconds of the monotonic clock of boot `boot_id`."""

    id: str
    agent: str
    number: int
    cause: str
    opened_at: float
    boot_id: str = ""
    fault_mono: float = 0.0
    caught_s: float | None = None
    restored_s: float | None = None
    tiers: tuple[int, ...] = ()
    outcome: Outcome = Outcome.OPEN
    closed_at: float | None = None
    exit: str = ""  # the last exit in words
    log_lines: tuple[str, ...] = ()
    timeline: tuple[Moment, ...] = ()
    moments_dropped: int = 0
    postmortem: str | None = None
    agents: tuple[str, ...] = ()  # of an incident of the node: who suffered; `agent` is "" then
    node: str = ""  # of an incident of the node: which cause, e.g. "disk:/data"
    kind: str = ""  # the rule that explained it (rules.py); "" until it was looked at
    likely: str = ""  # the most likely cause, one sentence
    confidence: str = ""
    function: str = ""  # where it hung, "stuck_here (agent.py:12)"
    tiers_at: tuple[float, ...] = ()  # when each of `tiers` was first used
    fingerprint: str = ""  # the same for incidents of the same kind
    restored: str = ""  # what tier 3 put back, what it replaced, and what was lost by it


def incident_id(home_id: str, agent: str, number: int, opened_at: float) -> str:
    """DATE-HEX, the same for the same incident however often it is computed."""
    digest = hashlib.sha256(f"{home_id}:{agent}:{number}:{opened_at:.3f}".encode()).hexdigest()[:8]
    return f"{time.strftime('%Y%m%d', time.gmtime(opened_at))}-{digest}"


def add_moment(incident: Incident, at: float, text: str) -> None:
    """Append to the timeline; beyond TIMELINE_MAX the middle is given up, the beginning and the end stay."""
    timeline = (*incident.timeline, Moment(at, text))
    if len(timeline) > limits.TIMELINE_MAX:
        middle = limits.TIMELINE_MAX // 2
        timeline = timeline[:middle] + timeline[middle + 1 :]
        incident.moments_dropped += 1
    incident.timeline = timeline


def add_tier(incident: Incident, tier: int, at: float = 0.0) -> None:
    """Note that a tier was used and when first; each once, in the order of use."""
    if tier and tier not in incident.tiers:
        incident.tiers = (*incident.tiers, tier)
        incident.tiers_at = (*incident.tiers_at, at)


def summary(incident: Incident) -> dict[str, object]:
    """The row of `incidents --json`."""
    return {
        "id": incident.id,
        "agent": incident.agent,
        "cause": incident.cause,
        "caught_s": _round(incident.caught_s),
        "restored_s": _round(incident.restored_s),
        "tiers": list(incident.tiers),
        "outcome": incident.outcome.value,
        "postmortem": incident.postmortem,
        "opened_at": round(incident.opened_at, 3),
        "agents": list(incident.agents),
        "node": incident.node,
        "kind": incident.kind,
        "likely": incident.likely,
        "confidence": incident.confidence,
        "function": incident.function,
        "fingerprint": incident.fingerprint,
    }


def detail(incident: Incident) -> dict[str, object]:
    """The row and everything known about it."""
    return {
        **summary(incident),
        "closed_at": incident.closed_at,
        "exit": incident.exit,
        "restored": incident.restored,
        "log_lines": list(incident.log_lines),
        "timeline": [{"at": moment.at, "text": moment.text} for moment in incident.timeline],
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
