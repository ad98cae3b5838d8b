"""A post-mortem as Markdown. Pure: an incident in, text out. Called by `files.py`."""

from __future__ import annotations

import time

from holdfast.incidents.model import Incident, Outcome

_TIER_WORDS = {
    1: "restarted it",
    2: "recreated its place (new cgroup, fresh temporary directory and sockets, state kept)",
    3: "restored its state",
    4: "raised an alert",
}


def postmortem(incident: Incident) -> str:
    """What happened, for a person who was asleep."""
    parts = [
        f"# {incident.agent}: {incident.cause}",
        "",
        f"- Incident: {incident.id}",
        f"- Outcome: {_outcome(incident)}",
        f"- Began: {_stamp(incident.opened_at)}",
        f"- Caught after: {_seconds(incident.caught_s)}",
        f"- Restored after: {_seconds(incident.restored_s)}",
        f"- Last exit: {incident.exit or 'the process did not exit by itself'}",
        "",
        "## What Holdfast did",
        "",
        *([f"- {_TIER_WORDS[tier]}" for tier in incident.tiers if tier in _TIER_WORDS] or ["- nothing yet"]),
        "",
        "## Timeline (UTC)",
        "",
        *(f"- {_stamp(moment.at)} {_one_line(moment.text)}" for moment in incident.timeline),
    ]
    if incident.moments_dropped:
        parts.append(f"- ({incident.moments_dropped} entries in the middle are left out; the ledger has them)")
    parts += ["", "## Last lines it printed", ""]
    if incident.log_lines:
        parts += [f"    {_one_line(line)}" for line in incident.log_lines]
    else:
        parts.append("It printed nothing.")
    parts += ["", "## What you can do", "", *_advice(incident), ""]
    return "\n".join(parts)


def _outcome(incident: Incident) -> str:
    if incident.outcome is Outcome.RECOVERED:
        return "recovered without a person"
    if incident.outcome is Outcome.ESCALATED:
        return "needs a person; Holdfast goes on trying quietly"
    return "still open"


def _advice(incident: Incident) -> list[str]:
    if incident.outcome is Outcome.RECOVERED:
        return ["Nothing has to be done."]
    return [
        f"- Look at it: `holdfast describe {incident.agent}` and `holdfast logs {incident.agent}`",
        f"- Correct what the cause names, then `holdfast up` (a changed spec) or `holdfast restart {incident.agent}`",
    ]


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}"


def _seconds(value: float | None) -> str:
    return "not yet" if value is None else f"{value:.3f} s"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
