"""Joins what the keeper does about versioned state: the worker, its jobs, who asks for them and what is said of it.

Called by Keeper alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.keeper.snapshots import Snapshots
from holdfast.keeper.state_jobs import StateJobs
from holdfast.keeper.worker_link import WorkerLink

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


def build(keeper: Keeper) -> Snapshots:
    """Everything joined; stops wait for their snapshot from now on."""
    jobs = StateJobs(
        keeper.agents, keeper.home, WorkerLink(keeper.tasks), keeper.places.rights, keeper.places.cgroups_of
    )
    snapshots = Snapshots(keeper.agents, jobs, keeper.starvation, keeper.recorder, keeper.tasks, keeper.clock.now_mono)
    keeper.hands.keeping = snapshots
    keeper.health.followers.append(snapshots.follow)
    return snapshots
