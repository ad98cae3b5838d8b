"""Looks now and then at trees that a restore replaced and that are kept for a while: those whose time is up go.

Invariant: when the disk budget of an agent is short all of its kept trees go, since they are missed least; a look that
fails is made again. Started and ended by restoring.py.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from holdfast import limits
from holdfast.errors import HoldfastError
from holdfast.state.restore.kept_trees import NAME as KEPT_NAME
from holdfast.worker.protocol import JobFailed

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


class KeptLooks:
    """`begin` starts the timer; `close` ends it."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._jobs = keeper.snapshots.jobs
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(limits.DAMAGED_TREE_LOOK_S, self._look)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self.begin()
        for name, place in list(self._keeper.upkeep.places.items()):
            if name in self._keeper.agents and (self._jobs.directory(name) / KEPT_NAME).exists():
                # What thinning has to say is that the disk budget is short: these trees are what is missed least.
                self._keeper.tasks.spawn(self._drop(name, everything=bool(place.said)))

    async def _drop(self, name: str, *, everything: bool) -> None:
        try:
            gone = (await self._jobs.ask("restore-drop", name, gentle=True, everything=everything))["gone"]
        except (JobFailed, HoldfastError):
            return  # again with the next look
        if gone:
            why = "its disk budget needs the room" if everything else "their time is up"
            self._keeper.recorder.record("state.kept-deleted", name, f"{why}: deleted {', '.join(gone)}")
