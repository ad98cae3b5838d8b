"""Joins what the keeper does about versioned state: the worker, its jobs, who asks for them and what is said of it.

Called by Keeper and by notices.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.keeper.state.removing import Removing
from holdfast.keeper.state.resting import Rester
from holdfast.keeper.state.restoring import Restoring
from holdfast.keeper.state.snapshots import Snapshots
from holdfast.keeper.state.state_faults import StateFaults
from holdfast.keeper.state.state_gate import StateGate
from holdfast.keeper.state.state_jobs import StateJobs
from holdfast.keeper.state.state_upkeep import CHECK, StateUpkeep
from holdfast.keeper.state.worker_link import WorkerLink
from holdfast.state.capture import freeze

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper

_NAMED = 5  # agents in one sentence


def build(keeper: Keeper) -> tuple[Snapshots, StateUpkeep, Removing]:
    """Everything joined; stops wait for their snapshot from now on."""
    places = keeper.places
    for name in freeze.release_left(keeper.home.path / "state"):
        text = "it was left standing still by a snapshot that was killed, and goes on"
        keeper.recorder.record("snapshot.released", name, text)
    jobs = StateJobs(keeper.agents, keeper.home, WorkerLink(keeper.tasks), places.rights, places.cgroups_of)

    def mended(name: str, said: list[str]) -> None:
        text = f"{len(said)} damaged or missing object(s) of its snapshots are whole again: {said[0]}"
        keeper.recorder.record("state.mended", name, text)

    jobs.mended = mended
    snapshots = Snapshots(keeper.agents, jobs, keeper.starvation, keeper.recorder, keeper.tasks, keeper.clock.now_mono)
    snapshots.at_rest = Rester(
        lambda agent, probe: keeper.listening.probing.run(agent, probe.argv, probe.env, limits.REST_ASK_S, must=True),
        keeper.recorder,
        keeper.tasks,
    ).at_rest
    upkeep = StateUpkeep(keeper.agents, snapshots, keeper.recorder, keeper.alarms, keeper.tasks, keeper.clock)
    removing = Removing(keeper, jobs)
    snapshots.changed, snapshots.told = upkeep.made, lambda name: removing.told(name) + upkeep.trouble(name)
    snapshots.forgotten = upkeep.gone
    keeper.hands.keeping = snapshots
    keeper.health.followers.append(snapshots.follow)
    upkeep.clear_removed = removing.clear
    return snapshots, upkeep, removing


def join_restores(keeper: Keeper) -> tuple[Restoring, StateFaults]:
    """Restores, of people and of the ladder: from now on no start comes between one."""
    restoring, made, pushes_env = Restoring(keeper), keeper.snapshots.changed, keeper.listening.pushes.env

    def changed(name: str) -> None:
        made(name)
        if name in keeper.agents:
            restoring.follow(keeper.agents[name])

    keeper.snapshots.changed = changed
    faults = StateFaults(keeper)
    keeper.hands.holding = StateGate(keeper.snapshots.jobs, faults.take, restoring)
    keeper.places.more_env = lambda spec: {**pushes_env(spec), **restoring.env(spec.name)}
    return restoring, faults


def warnings(keeper: Keeper) -> Iterator[HoldfastError]:
    """What a person should know about snapshots, the gravest first."""
    snapshots, upkeep = keeper.snapshots, keeper.upkeep
    for name, place in upkeep.places.items():
        if place.damage:
            reason = "; ".join(dict.fromkeys(place.damage.values()))
            yield HoldfastError(errors.STATE_DAMAGED, agent=name, what=CHECK, reason=reason)
    for name, kept in snapshots.kept.items():
        if kept.trouble:
            yield HoldfastError(errors.SNAPSHOT_FAILED, agent=name, reason=kept.trouble)
    if snapshots.pauses.is_long:
        yield HoldfastError(errors.SNAPSHOTS_PAUSED, reason=snapshots.pauses.why)
    for name, place in upkeep.places.items():
        if place.lag:
            yield HoldfastError(errors.REMOTE_LAG, agent=name, detail=place.lag)
        for said in place.said:
            yield HoldfastError(errors.SNAPSHOTS_THINNED, agent=name, detail=said)
    alone = [
        name
        for name, kept in snapshots.kept.items()
        if name in keeper.agents and upkeep.on_one_disk(keeper.agents[name], kept)
    ]
    if alone:
        more = f" and {len(alone) - _NAMED} more" if len(alone) > _NAMED else ""
        yield HoldfastError(errors.ONLY_COPY, agents=", ".join(alone[:_NAMED]) + more, agent=alone[0])
