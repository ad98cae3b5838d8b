"""What is there in an agent's state paths: asked in threads that can be given up, since a mount may not answer.

Invariant: the loop never waits for the disk of an agent. Called by removing.py, restore_requests.py and the API.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from holdfast import limits, recipes
from holdfast.keeper.watching.errands import Errands, HeldUp
from holdfast.spec.model import AgentSpec


async def missing(errands: Errands, name: str, paths: Sequence[str]) -> list[str]:
    """Those that are not there, in bounded time. What does not answer counts as there."""
    try:
        return await errands.run(name, lambda: _missing(paths), limits.DISK_LOOK_TIMEOUT_S)
    except (HeldUp, OSError):
        return []


async def stale(errands: Errands, spec: AgentSpec) -> tuple[str, ...]:
    """Logins that may be refused after a restore, in words, in bounded time. A disk that does not answer tells none."""
    look = partial(recipes.find(spec.recipe).stale_after_restore, spec)
    try:
        return await errands.run(f"logins of {spec.name}", look, limits.DISK_LOOK_TIMEOUT_S)
    except (HeldUp, OSError):
        return ()


def _missing(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if not os.path.lexists(path)]
