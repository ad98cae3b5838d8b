"""Joins growth, replicas and neighbours with the keeper. Called once by Keeper, before the world is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.density import neighbours, scaling
from holdfast.keeper.density.growth import Growth, Room
from holdfast.keeper.density.neighbours import Neighbours
from holdfast.keeper.density.scaling import Scaler
from holdfast.keeper.watching import beats

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper

_UNKNOWN_FITS = 1_000_000  # nobody has read the node's memory: admission decides


def growth(keeper: Keeper) -> Growth:
    """Hears of every reading of memory from now on."""

    def room() -> Room | None:
        reading = keeper.semaphore.reading
        if reading is None:
            return None
        budget_bytes = keeper.semaphore.budget_bytes
        return Room(budget_bytes, budget_bytes - sum(one.usage_bytes for one in reading.agents))

    made = Growth(
        keeper.clock,
        keeper.recorder,
        idle=beats.idle,
        restart=lambda agent, why: keeper.command(agent, "restart", why),
        room=room,
        ready=lambda: keeper.intake.is_adopted and not keeper.stopping,
        changed=keeper.agent_changed,
    )
    keeper.resources.grew = made.follow
    return made


def scaler(keeper: Keeper) -> Scaler:
    """`begin` it when the keeper's loop runs."""

    def fits(agent: Agent) -> int:
        semaphore, starts = keeper.semaphore, keeper.starts
        if semaphore.reading is None and semaphore.node is None:
            return _UNKNOWN_FITS
        room_bytes = semaphore.room() if semaphore.reading is not None else semaphore.budget_bytes
        room_bytes -= starts.taken_since(semaphore.state.read_mono)
        # Of who waits to start, another queue's replica may be: one promised the same room would have somebody shed.
        for need in (starts.need(one) for one in keeper.agents.values() if one.ladder.phase is Phase.QUEUED):
            room_bytes -= need if need <= room_bytes else 0
        return max(0, room_bytes) // max(1, starts.need(agent))

    made = Scaler(
        scaling.Parts(
            agents=keeper.agents,
            clock=keeper.clock,
            recorder=keeper.recorder,
            healer=keeper.healer,
            fits=fits,
            asleep=lambda agent: keeper.sleepers.is_frozen(agent.name) or agent.ladder.aside == "hibernating",
            wake=lambda agent, why: keeper.sleepers.wake(agent, why),
            ready=lambda: keeper.intake.is_adopted and not keeper.stopping,
        )
    )
    keeper.beats.queue_said = made.said
    return made


def neighbour_watch(keeper: Keeper) -> Neighbours:
    """Asked by the node's watch at each of its looks."""
    plan = keeper.places.plan
    own = str(plan.v2_root or next(iter(plan.v1_roots.values()), ""))

    def node_bytes() -> int:
        reading = keeper.semaphore.reading
        return reading.node_bytes if reading is not None else neighbours.machine_bytes()

    def outside_bytes(short: bool) -> int:
        semaphore = keeper.semaphore
        return neighbours.machine_bytes() if short else neighbours.outside_bytes(semaphore.node, semaphore.reading)

    made = Neighbours(
        neighbours.Parts(
            recorder=keeper.recorder,
            tasks=keeper.tasks,
            known=lambda: neighbours.known(keeper.agents, keeper.places.cgroups_of, own.rstrip("/").rpartition("/")[2]),
            node_bytes=node_bytes,
            outside_bytes=outside_bytes,
            told=keeper.node.neighbours_named,
            short_of_memory=lambda: keeper.semaphore.scarce,
        )
    )
    keeper.node.neighbours = made
    return made
