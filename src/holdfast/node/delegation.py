"""Switching v2 controllers on for our pods, within the rule that an inner cgroup holds no processes.

The kernel refuses (EBUSY) to switch a controller on for the children of a cgroup that itself holds processes. All
processes of the base are then moved into a leaf beside ours: Holdfast's own ones, or, at the root of a container, all
of the container's. Called by `cgroups.choose` alone.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from pathlib import Path

LEAF = "holdfast-own"
_MOVE_ROUNDS = 10  # processes may be forked while they are moved


def enable(base: Path, root: Path, wanted: Sequence[str]) -> tuple[frozenset[str], str]:
    """Switch controllers on in `base` and then in `root`, its child: those that pods get, and why not more."""
    available, reason = offered(base, wanted)
    held: set[str] = set()
    reasons = [reason] if len(available) < len(wanted) else []
    for controller in sorted(available):
        refusal = _switch_on(base, controller) or _switch_on(root, controller)
        if refusal:
            reasons.append(f"{controller}: {refusal}")
        else:
            held.add(controller)
    return frozenset(held), "; ".join(reasons) or f"all limits hold below {base}"


def offered(base: Path, wanted: Sequence[str]) -> tuple[frozenset[str], str]:
    """The wanted controllers that may be switched on below `base`, and why not more."""
    present = _words(base / "cgroup.controllers")
    missing = [controller for controller in wanted if controller not in present]
    why = f"{base} does not offer {', '.join(missing)}" if missing else f"all limits hold below {base}"
    return frozenset(wanted) - frozenset(missing), why


def _switch_on(directory: Path, controller: str) -> str | None:
    """None on success, else the reason."""
    switch = directory / "cgroup.subtree_control"
    if controller in _words(switch):
        return None
    for _ in range(_MOVE_ROUNDS):
        try:
            switch.write_text(f"+{controller}")
            return None
        except OSError as error:
            if error.errno != errno.EBUSY:
                return error.strerror or str(error)
        reason = _clear(directory)
        if reason:
            return reason
    return f"processes keep appearing in {directory}"


def _clear(directory: Path) -> str | None:
    """Move every process of this cgroup into its leaf; None on success."""
    leaf = directory / LEAF
    try:
        leaf.mkdir(exist_ok=True)
        for pid in _words(directory / "cgroup.procs"):
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
    except OSError as error:
        return f"processes of {directory} cannot be moved: {error.strerror}"
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
