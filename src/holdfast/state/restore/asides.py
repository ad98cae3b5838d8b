"""Names of what a restore lays beside an agent's live files: the new tree, the old one, one that failed.

Invariant: such a name says which snapshot it belongs to, fits into a directory whatever the live name is, and no
snapshot ever takes it in. Pure. Called by restoring, and by the walk that leaves these names out.
"""

from __future__ import annotations

import os
import re

_NAME_MAX_BYTES = 255
_LONGEST_END = len(".holdfast-before-") + 12 + len("-journal")
_OURS = re.compile(rb"\..*\.holdfast-(?:before-|failed-)?[0-9a-f]{12}(?:-wal|-shm|-journal)?", re.DOTALL)

SIBLINGS = ("-wal", "-shm", "-journal")  # of a SQLite database: they belong to one version of it


def is_aside(name: bytes) -> bool:
    """Whether this name is a restore's, which no snapshot takes in."""
    return name[:1] == b"." and b".holdfast-" in name and _OURS.fullmatch(name) is not None


def fresh(name: str, short: str) -> str:
    """Where the new version of `name` is built."""
    return _beside(name, f".holdfast-{short}")


def before(name: str, short: str) -> str:
    """Where what lived under `name` is kept after the exchange."""
    return _beside(name, f".holdfast-before-{short}")


def failed(name: str, short: str) -> str:
    """Where a version that did not get healthy is kept, when somebody wants to look at it."""
    return _beside(name, f".holdfast-failed-{short}")


def _beside(name: str, end: str) -> str:
    kept = os.fsencode(name)[: _NAME_MAX_BYTES - 1 - _LONGEST_END]
    return f".{os.fsdecode(kept)}{end}"
