"""Switching v2 controllers on for our pods, within the rule that an inner cgroup holds no processes.

The kernel refuses (EBUSY) to switch memory on for the children of a cgroup that itself holds processes. cpu and pids,
which count threads, it lets on there, but then that cgroup is the root of a thread tree: memory is refused and no
process can be moved or born below (EOPNOTSUPP). So all processes of the base are moved into a leaf beside ours before
anything is switched on: Holdfast's own ones, or, at the root of a container, all of the container's. Called by
`cgroups.choose` alone.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from pathlib import Path

from holdfast import limits

LEAF = "holdfast-own"
_MOVE_ROUNDS = 10  # processes may be forked while they are moved


def enable(base: Path, root: Path, wanted: Sequence[str]) -> tuple[frozenset[str], str]:
    """Switch controllers on in `base` and then in `root`, its child: those that pods get, and why not more."""
    available, reason = offered(base, wanted)
    held: set[str] = set()
    reasons = [reason] if len(available) < len(wanted) else []
    stays = _empty(base) if available else None
    if stays:
        return frozenset(), stays
    for controller in sorted(available, key=lambda each: (each != "memory", each)):
        refusal = _switch_on(base, controller) or _switch_on(root, controller)
        if refusal:
            reasons.append(f"{controller}: {refusal}")
        else:
            held.add(controller)
    if "memory" in held:
        _protect_ourselves(base / LEAF)
    return frozenset(held), "; ".join(reasons) or f"all limits hold below {base}"


def _protect_ourselves(leaf: Path) -> None:
    """On a full node the kernel would drop the pages of our own code, just when it has to run."""
    protection = leaf / "memory.low"
    with contextlib.suppress(OSError):
        if protection.read_text().strip() == "0":  # a number of somebody else stays
            protection.write_text(str(limits.OWN_PROTECTED_BYTES))


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
        reason = _move_all(directory)
        if reason:
            return reason
    return f"processes keep appearing in {directory}"


def is_usable(directory: Path) -> bool:
    """Whether processes can be in it: not below the root of a thread tree."""
    return _words(directory / "cgroup.type") not in (["domain", "invalid"], ["threaded"])


def _empty(base: Path) -> str | None:
    """No process is in it then; None on success. At the top of the hierarchy they may stay."""
    if not (base / "cgroup.type").exists():
        return None
    for _ in range(_MOVE_ROUNDS):
        if not _words(base / "cgroup.procs"):
            return None
        reason = _move_all(base)
        if reason:
            return reason
    return f"processes keep appearing in {base}"


def _move_all(directory: Path) -> str | None:
    """Move every process of this cgroup into its leaf; None on success."""
    leaf = directory / LEAF
    switch = directory / "cgroup.subtree_control"
    off: list[str] = []
    try:
        leaf.mkdir(exist_ok=True)
        if not is_usable(leaf):  # without what was on beside processes, it is a normal cgroup again
            for controller in _words(switch):
                switch.write_text(f"-{controller}")
                off.append(controller)
        for pid in _words(directory / "cgroup.procs"):
            with contextlib.suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid)
    except OSError as error:
        return f"processes of {directory} cannot be moved: {error.strerror}"
    finally:
        for controller in off:
            with contextlib.suppress(OSError):
                switch.write_text(f"+{controller}")
    return None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
