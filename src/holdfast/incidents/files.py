"""Post-mortems on disk: HOME/incidents/ID.md, ID.json and ID.evidence.json. Idempotent; only the newest INCIDENTS_KEPT
stay.

Invariant: a file is whole or absent, bounded, and holds no secret. Called by the keeper outside its loop, since a disk
can be slow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from holdfast import limits
from holdfast.evidence import collect, secrets
from holdfast.files import write_atomic
from holdfast.incidents import render, report
from holdfast.incidents.facts import Facts
from holdfast.incidents.model import Incident

_FORMS = (".md", ".json", ".evidence.json")


def path_of(directory: Path, incident_id: str) -> Path:
    """Where the Markdown of an incident stands."""
    return directory / f"{incident_id}.md"


def read_markdown(directory: Path, incident_id: str) -> str:
    """The post-mortem; "" when it is not there."""
    try:
        return path_of(directory, incident_id).read_text("utf-8", "replace")
    except OSError:
        return ""


def read_report(directory: Path, incident_id: str) -> dict[str, Any]:
    """The post-mortem's JSON; {} when it is not there or cannot be read."""
    try:
        found: dict[str, Any] = msgspec.json.decode((directory / f"{incident_id}.json").read_bytes(), type=dict)
    except (OSError, msgspec.DecodeError):
        return {}
    return found


def read_facts(directory: Path, incident_id: str) -> Facts:
    """What was found out before; empty when nothing was, or when it cannot be read."""
    try:
        return msgspec.json.decode((directory / f"{incident_id}.evidence.json").read_bytes(), type=Facts)
    except (OSError, msgspec.DecodeError):
        return Facts()


def write_facts(directory: Path, incident_id: str, facts: Facts, values: Sequence[str] = ()) -> None:
    """Keep what was found out. Raises OSError; the old file then stays as it was."""
    shown: dict[str, Any] = secrets.mask_all(msgspec.to_builtins(facts), values)
    bundle = shown["bundle"]
    if bundle is not None and len(msgspec.json.encode(shown)) > limits.BUNDLE_MAX_BYTES:
        shown["bundle"] = msgspec.json.decode(collect.fit(bundle, limits.BUNDLE_MAX_BYTES // 2))
    write_atomic(directory / f"{incident_id}.evidence.json", msgspec.json.encode(shown) + b"\n")


def write(
    directory: Path, incident: Incident, facts: Facts, known: Sequence[Incident] = (), values: Sequence[str] = ()
) -> None:
    """Judge the incident (its fields change) and write both forms. Raises OSError; the old ones then stay.

    `known`: the other incidents, to find similar ones. `values`: secrets of the agent.
    """
    made = report.build(incident, facts, known)
    shown = secrets.mask_all(report.as_json(made), values)
    target = path_of(directory, incident.id)
    write_atomic(target.with_suffix(".json"), msgspec.json.format(_fit(shown)) + b"\n")
    masked = msgspec.convert(secrets.mask_all(msgspec.to_builtins(made), values), report.Report)
    text = render.postmortem(masked).encode("utf-8", "replace")
    if len(text) > limits.POSTMORTEM_MAX_BYTES:
        text = text[: limits.POSTMORTEM_MAX_BYTES - 100].rsplit(b"\n", 1)[0] + b"\n\n(cut: it was too long)\n"
    write_atomic(target, text)


def _fit(shown: dict[str, Any]) -> bytes:
    """What is worth least goes first."""
    data = msgspec.json.encode(shown)
    for drop in ("evidence", "kernel", "log_lines", "timeline"):
        if len(data) * 1.3 < limits.POSTMORTEM_MAX_BYTES:  # indenting makes it longer
            break
        shown[drop] = type(shown[drop])() if shown[drop] is not None else None
        data = msgspec.json.encode(shown)
    return data


def prune(directory: Path, keep: int = limits.INCIDENTS_KEPT) -> int:
    """Remove the oldest post-mortems beyond `keep`; returns how many went. Raises OSError only for the listing."""
    known = sorted(directory.glob("*.md"), key=_age)
    surplus = known[: max(0, len(known) - keep)]
    for path in surplus:
        for form in _FORMS:
            with contextlib.suppress(OSError):
                path.with_suffix(form).unlink()
    return len(surplus)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
