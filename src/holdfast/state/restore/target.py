"""Which directories `restore --to` may not write to: that agent's live state, and where snapshots are kept.

Invariant: only looks. Called by the worker's restore jobs and by `restore --from`, before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from holdfast import errors


def check(to: str | Path, state_paths: Iterable[str], state_dir: str | Path) -> None:
    """Raises HoldfastError RESTORE_TARGET when `to` is one of `state_paths` or `state_dir`, or lies below it."""
    where = os.path.realpath(to)
    kept = [(os.fspath(state_dir), "the directory of the snapshots")]
    for path, what in [*kept, *((path, "the agent's live state") for path in state_paths)]:
        base = os.path.realpath(path).rstrip("/")
        if where == base or where.startswith(base + "/"):
            raise errors.HoldfastError(errors.RESTORE_TARGET, path=to, reason=f"it must not lie in {path}, {what}")
