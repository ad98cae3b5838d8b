"""Which of an agent's state paths are there: asked in a thread, since they may lie on a mount that does not answer.

Invariant: the loop never waits for the disk of an agent. Called by removing.py and restore_requests.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from holdfast import limits
from holdfast.keeper.watching.errands import Errands, HeldUp


async def missing(errands: Errands, name: str, paths: Sequence[str]) -> list[str]:
    """Those that are not there, in bounded time. What does not answer counts as there."""
    try:
        return await errands.run(name, lambda: _missing(paths), limits.DISK_LOOK_TIMEOUT_S)
    except (HeldUp, OSError):
        return []


def _missing(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not os.path.lexists(path)]
