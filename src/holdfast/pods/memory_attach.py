"""Which memory group an agent has: by the files that are really there, best first. Called by who feeds density."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from holdfast.pods.memory_bare import MemoryBare
from holdfast.pods.memory_group import MemoryGroup
from holdfast.pods.memory_v1 import MemoryV1
from holdfast.pods.memory_v2 import MemoryV2
from holdfast.pods.pausing import FreezeV1, FreezeV2, Members, Pause, Signals


def attach(
    v2: Path | str | None,
    v1: Sequence[Path | str],
    declared_bytes: int | None,
    members: Members,
    *,
    inside: bool = True,
) -> MemoryGroup:
    """The group of an agent with these cgroup directories; `members` lists its processes, for signals.

    Agents that are in no memory cgroup, or not `inside` theirs, are weighed process by process. Never raises.
    """
    if not inside:
        return MemoryBare(members, pause=_pause(v2, v1, members))
    if v2 is not None and os.path.exists(f"{v2}/memory.high"):
        return MemoryV2(v2, declared_bytes)
    for directory in v1:
        if os.path.exists(f"{directory}/memory.limit_in_bytes"):
            return MemoryV1(directory, declared_bytes, _pause(v2, v1, members), members)
    return MemoryBare(members, pause=_pause(v2, v1, members))


def _pause(v2: Path | str | None, v1: Sequence[Path | str], members: Members) -> Pause:
    if v2 is not None and os.path.exists(f"{v2}/cgroup.freeze"):
        return FreezeV2(v2)
    freezer = next((each for each in v1 if os.path.exists(f"{each}/freezer.state")), None)
    return Signals(members) if freezer is None else FreezeV1(freezer)
