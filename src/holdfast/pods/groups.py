"""The cgroup directories of a pod: ROOT/AGENT.NUMBER in v2 and in each v1 hierarchy that holds something for it.

Limits are written before anything runs inside. Only directories of this home are ever touched. A directory is removed
only when it is empty; the kernel refuses otherwise, so nothing can be lost by trying. Called by pods.pod.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from holdfast import limits
from holdfast.node.cgroups import CgroupPlan
from holdfast.pods import memory_v2
from holdfast.pods.limits import Setting


class Groups(NamedTuple):
    """`v1` has the tracking directory first. `late`: those of them that may be entered after the birth, since v2 tells
    who belongs to the agent and no declared limit is held there. `failed`: limit -> why it could not be set."""

    v2: Path | None
    v1: tuple[Path, ...]
    late: tuple[Path, ...]
    failed: dict[str, str]


def make(plan: CgroupPlan, agent: str, number: int, settings: tuple[Setting, ...]) -> Groups:
    """Make the directories and write `settings` in their order, idempotent. Raises OSError when the place itself cannot
    be made.

    Limits that are no longer declared are lifted on a directory that existed already. A pod is described again while
    its agent runs (a probe that is a command, a keeper that comes back): a ceiling that holds it then is left alone.
    """
    name = f"{agent}.{number}"
    v2 = plan.v2_root / name if plan.v2_root is not None else None
    used = {each.controller for each in settings if each.controller not in plan.v2_controllers}
    order = [plan.tracker] if plan.tracker else []
    order += [each for each in plan.v1_roots if each in used and each != plan.tracker]
    v1 = {controller: plan.v1_roots[controller] / name for controller in order}
    places = [place for place in (v2, *v1.values()) if place is not None]
    found = [place for place in places if not _is_new(place)]  # in a new one there is nothing to look for
    held = [place for place in found if _is_held(place)]
    declared = {each.limit for each in settings}
    for each in found:
        _lift(each, declared, "memory" if each in held else None)
    if "cpu" in v1 and v1["cpu"] not in found:
        _weigh_all(plan.v1_roots["cpu"])
    failed: dict[str, str] = {}
    for setting in settings:
        place = v2 if setting.controller in plan.v2_controllers else v1[setting.controller]
        assert place is not None
        if place in held and setting.controller == "memory" and not _is_lower(place, setting):
            continue
        try:
            (place / setting.file).write_text(setting.value)
        except OSError as error:
            if setting.must:
                failed[setting.limit] = error.strerror or str(error)
    strict = any(each.must and each.controller in v1 for each in settings)
    return Groups(v2, tuple(v1.values()), tuple(v1.values()) if v2 is not None and not strict else (), failed)


def _is_new(directory: Path) -> bool:
    """Make it; False when it was there. Raises OSError."""
    try:
        directory.mkdir()
    except FileExistsError:
        if not directory.is_dir():
            raise
        return False
    except FileNotFoundError:
        directory.mkdir(parents=True, exist_ok=True)
    return True


_LIFTED = (
    ("memory", "memory.max", "max"),
    ("memory", "memory.limit_in_bytes", "-1"),
    ("cpus", "cpu.max", "max"),
    ("cpus", "cpu.cfs_quota_us", "-1"),
    ("pids", "pids.max", "max"),
)


def _lift(directory: Path, declared: set[str], but: str | None) -> None:
    """Take back what is no longer declared, in a directory that is joined. Other v1 directories are not."""
    lifted = [*_LIFTED, ("", "memory.high", "max")] if not but else _LIFTED
    for limit, file, value in lifted:
        if limit not in declared and limit != but and (directory / file).exists():
            with contextlib.suppress(OSError):
                (directory / file).write_text(value)


def _is_held(directory: Path) -> bool:
    """Whether somebody runs in it at a ceiling of the RAM semaphore, which is who moves it and who lifts it."""
    at_ceiling = "oom_kill_disable 1" in _read(directory / "memory.oom_control")
    at_ceiling = at_ceiling or _read(directory / "memory.high").strip() not in ("", "max")
    return at_ceiling and any(_read(Path(path) / "cgroup.procs").strip() for path, _, _ in os.walk(directory))


def _is_lower(directory: Path, setting: Setting) -> bool:
    """A declared limit below the ceiling holds at once; one above it as soon as the ceiling is lifted."""
    if setting.file not in ("memory.max", "memory.limit_in_bytes"):
        return setting.file != "memory.oom_control"
    value = _read(directory / setting.file).strip()
    return not value.isdigit() or int(setting.value) < int(value)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _weigh_all(root: Path) -> None:
    """In v1 all agents together stand against each single process outside; they are to count as several."""
    with contextlib.suppress(OSError):
        (root / "cpu.shares").write_text(str(limits.CPU_SHARES_PER_CORE_OF_ALL * (os.cpu_count() or 1)))


def protect_root(plan: CgroupPlan, keep_bytes: int, floor_bytes: int) -> bool:
    """Let the protection of the pods count in v2: each group grants what is below it only as much as it has itself.

    `keep_bytes` and `floor_bytes` are the sums of the pods' memory.low and memory.min. Groups above ours belong to
    others and are left alone. False where it cannot be written.
    """
    return plan.v2_root is not None and memory_v2.write_protection(plan.v2_root, keep_bytes, floor_bytes)


def remove(plan: CgroupPlan, agent: str, number: int) -> bool:
    """True when nothing of the pod's cgroups is left; False while processes (or zombies) are still inside."""
    gone = True
    for root in _roots(plan):
        gone = _remove_tree(root / f"{agent}.{number}") and gone
    return gone


def prune(plan: CgroupPlan, current: Mapping[str, int]) -> list[str]:
    """Remove the empty directories of all pods which are not current (agent -> number); returns those that are left."""
    left: list[str] = []
    for root in _roots(plan):
        try:
            names = [entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for name in names:
            agent, _, number = name.rpartition(".")
            if agent and number.isdecimal() and current.get(agent) != int(number) and not _remove_tree(root / name):
                left.append(str(root / name))
    return left


def close(plan: CgroupPlan) -> None:
    """Remove this home's directories, when Holdfast leaves for good and nothing runs any more."""
    prune(plan, {})
    for root in _roots(plan):
        with contextlib.suppress(OSError):
            root.rmdir()


def _roots(plan: CgroupPlan) -> list[Path]:
    return ([plan.v2_root] if plan.v2_root else []) + list(plan.v1_roots.values())


def _remove_tree(directory: Path) -> bool:
    """From the leaves up: an agent may have made cgroups of its own below."""
    for path, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                return False
    return True
