"""Post-mortems on disk: HOME/incidents/ID.md and ID.json. Idempotent; only the newest INCIDENTS_KEPT stay.

Invariant: a file is whole or absent. Called by the keeper outside its loop, since a disk can be slow.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from holdfast import limits
from holdfast.files import write_atomic
from holdfast.incidents.model import Incident, detail
from holdfast.incidents.render import postmortem


def path_of(directory: Path, incident_id: str) -> Path:
    """Where the Markdown of an incident stands."""
    return directory / f"{incident_id}.md"


def write(directory: Path, incident: Incident) -> None:
    """Write both forms. Raises OSError; the old forms then stay as they were."""
    target = path_of(directory, incident.id)
    write_atomic(target.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(detail(incident))) + b"\n")
    write_atomic(target, postmortem(incident).encode("utf-8", "replace"))


def prune(directory: Path, keep: int = limits.INCIDENTS_KEPT) -> int:
    """Remove the oldest post-mortems beyond `keep`; returns how many went. Raises OSError only for the listing."""
    known = sorted(directory.glob("*.md"), key=_age)
    surplus = known[: max(0, len(known) - keep)]
    for path in surplus:
        for form in (path, path.with_suffix(".json")):
            with contextlib.suppress(OSError):
                form.unlink()
    return len(surplus)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
