"""Whom the kernel kills first when memory is gone: a larger priority is kept longer. Pure, but for `floor`.

Called by pods when an agent is defined.
"""

from __future__ import annotations

from pathlib import Path

from holdfast import limits
from holdfast.node import processes


def score_adj(priority: int, lowest: int) -> int:
    """oom_score_adj for a priority; `lowest`: the smallest value this Holdfast may set."""
    wished = limits.OOM_ADJ_AT_ZERO - limits.OOM_ADJ_PER_PRIORITY * priority
    return max(lowest, limits.OOM_ADJ_LEAST, min(limits.OOM_ADJ_MOST, wished))


def floor() -> int:
    """Without CAP_SYS_RESOURCE the value can only be raised."""
    if processes.capability(processes.CAP_SYS_RESOURCE):
        return -1000
    try:
        return max(0, int(Path("/proc/self/oom_score_adj").read_text()))
    except (OSError, ValueError):
        return 0
