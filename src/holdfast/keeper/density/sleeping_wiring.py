"""Joins the sleepers with the rest of the keeper. Called once by Keeper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.keeper.agent import Agent
from holdfast.keeper.density.idling import Parts
from holdfast.keeper.density.sleeping import Sleepers

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


def build(keeper: Keeper) -> Sleepers:
    """Made before the world is known."""

    def quiet(agent: Agent, on: bool) -> None:
        now = keeper.clock.now_mono()
        if not on:
            keeper.beats.resume(agent, now)
        keeper.health.follow(agent, now)
        keeper.semaphore.look()

    sleepers = Sleepers(
        Parts(
            agents=keeper.agents,
            clock=keeper.clock,
            recorder=keeper.recorder,
            healer=keeper.healer,
            groups=keeper.semaphore.groups,
            places=keeper.places,
            tasks=keeper.tasks,
            scarce=lambda: keeper.semaphore.scarce,
            next_at=lambda agent: keeper.planned.next_at(agent),
            quiet=quiet,
            ready=lambda: keeper.intake.is_adopted and not keeper.stopping,
        )
    )
    keeper.health.followers.append(sleepers.follow)
    keeper.hands.rouse, keeper.hands.before_spawn = sleepers.rouse, sleepers.before_spawn
    return sleepers
