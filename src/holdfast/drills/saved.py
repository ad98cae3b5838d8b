"""Scorecards on disk: HOME/drills/*.json, the newest few of each agent, so that the next run can be compared.

Called by the command line.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec

from holdfast.drills.score import Scorecard
from holdfast.files import write_atomic

KEPT = 50  # of all agents together: a year of weekly drills
FOLDER = "drills"


def save(home: Path, card: Scorecard) -> Path:
    """Write it; the file's name says when and on whom. Raises OSError."""
    folder = home / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(card.at))
    path = folder / f"{stamp}-{card.agent or 'throw-away'}.json"
    write_atomic(path, msgspec.json.format(msgspec.json.encode(card)) + b"\n")
    for old in sorted(folder.glob("*.json"))[:-KEPT]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def last(home: Path, agent: str, before: Path) -> Scorecard | None:
    """The newest scorecard of that agent older than `before`; what cannot be read is passed over."""
    for path in sorted((home / FOLDER).glob(f"*-{agent or 'throw-away'}.json"), reverse=True):
        if path.name < before.name:
            with contextlib.suppress(OSError, msgspec.DecodeError):
                return msgspec.json.decode(path.read_bytes(), type=Scorecard)
    return None
