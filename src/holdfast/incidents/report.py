"""The post-mortem as data: everything that Markdown and JSON say, put together once. Pure.

Invariant: both forms are made from the same Report, so they hold the same content; the shape is versioned and
documented in docs/formats/postmortem.md. Called by files.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from holdfast import limits
from holdfast.evidence.model import Bundle, Process
from holdfast.incidents import advice, causes, grouping, stuck
from holdfast.incidents.causes import Case, Verdict
from holdfast.incidents.facts import Facts
from holdfast.incidents.model import Incident, detail
from holdfast.incidents.rules import RULES

VERSION = 1
_ACTS = {
    1: "restarted it",
    2: "recreated its place (new cgroup, fresh temporary directory and sockets, state kept)",
    3: "restored its state",
    4: "raised an alert",
}


class Similar(Struct, frozen=True, kw_only=True):
    """An earlier incident of the same kind."""

    id: str
    agent: str
    at: float


class Act(Struct, frozen=True, kw_only=True):
    """What a tier did. `at` 0: when is not known; `after_s`: since the fault."""

    tier: int
    text: str
    at: float = 0.0
    after_s: float | None = None


class Report(Struct, kw_only=True):
    """`nth`: which of its kind within SIMILAR_WINDOW_S this is, 1 for the first."""

    incident: Incident
    facts: Facts
    likely: Verdict
    others: tuple[Verdict, ...] = ()
    spot: stuck.Spot | None = None
    nth: int = 1
    similar: tuple[Similar, ...] = ()
    acts: tuple[Act, ...] = ()
    steps: tuple[str, ...] = ()


def build(incident: Incident, facts: Facts, known: Sequence[Incident]) -> Report:
    """Judge and put together. Changes the incident's kind, likely, confidence, function and fingerprint."""
    likely, others = causes.judge(Case(incident, facts), RULES)
    spot = stuck.spot(facts.bundle)
    incident.kind, incident.likely, incident.confidence = likely.kind, likely.sentence, likely.confidence
    incident.function = stuck.place(spot) if spot and facts.hung else ""
    what = spot.function if spot and facts.hung else (facts.exit.words if facts.exit else incident.cause)
    if facts.exit is not None and facts.exit.oom:
        what = "killed for memory"  # its words are the numbers of this one death
    incident.fingerprint = grouping.fingerprint(incident.agent, facts.recipe, likely.kind, what)
    alike = grouping.similar(incident, known)
    return Report(
        incident=incident,
        facts=facts,
        likely=likely,
        others=others,
        spot=spot if facts.hung else None,
        nth=grouping.within_window(incident, alike),
        similar=tuple(Similar(id=one.id, agent=one.agent, at=one.opened_at) for one in alike[: limits.SIMILAR_SHOWN]),
        acts=tuple(_acts(incident)),
        steps=tuple(advice.steps(incident)),
    )


def _acts(incident: Incident) -> Iterator[Act]:
    times = dict(zip(incident.tiers, incident.tiers_at, strict=False))
    for tier in incident.tiers:
        at = times.get(tier, 0.0)
        after_s = round(max(0.0, at - incident.opened_at), 3) if at else None
        if tier in _ACTS:
            text = incident.restored if tier == 3 and incident.restored else _ACTS[tier]
            yield Act(tier=tier, text=text, at=at, after_s=after_s)


def as_json(report: Report) -> dict[str, Any]:
    """The documented shape: the keys of `incidents show --json` and the evidence behind them."""
    facts = report.facts
    return {
        "version": VERSION,
        **detail(report.incident),
        "recipe": facts.recipe,
        "verdict": msgspec.to_builtins(report.likely),
        "also_possible": msgspec.to_builtins(report.others),
        "hung_in": msgspec.to_builtins(report.spot),
        "acts": msgspec.to_builtins(report.acts),
        "next": list(report.steps),
        "nth": report.nth,
        "similar": msgspec.to_builtins(report.similar),
        "changes": msgspec.to_builtins(facts.changes),
        "proven_at": facts.proven_at or None,
        "memory": msgspec.to_builtins(facts.memory),
        "kernel": msgspec.to_builtins(facts.kernel),
        "evidence": _bundle(facts.bundle),
        "gaps": [*facts.gaps, *(facts.bundle.gaps if facts.bundle else ())],
    }


def _bundle(bundle: Bundle | None) -> dict[str, Any] | None:
    """What a person reads of it; ID.evidence.json has the whole."""
    if bundle is None:
        return None
    return {
        "taken_at": bundle.taken_at,
        "took_s": bundle.took_s,
        "complete": bundle.complete,
        "instance": bundle.instance,
        "processes_total": bundle.processes_total,
        "processes": [_process(each) for each in bundle.processes[: limits.STACKED_PROCESSES_MAX]],
        "group": bundle.group,
    }


def _process(process: Process) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(process)
    shown.pop("descriptors")
    for thread in shown["threads"]:
        thread["frames"] = thread["frames"][: limits.POSTMORTEM_FRAMES]
        thread["again"] = thread["again"][: limits.POSTMORTEM_FRAMES]
    return shown
