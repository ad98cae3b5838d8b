"""Joins the sleepers with the rest of the keeper. Called once by Keeper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.keeper.density.sleeping import Parts, Sleepers

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


def build(keeper: Keeper) -> Sleepers:
    """Made before the world is known."""

    def cpu_share(name: str) -> float | None:
        used = keeper.resources.usage(name)
        return None if used is None else used.cpu

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
            cpu_share=cpu_share,
            next_at=lambda agent: keeper.planned.next_at(agent),
            follow=lambda agent: keeper.health.follow(agent, keeper.clock.now_mono()),
            ready=lambda: keeper.intake.is_adopted and not keeper.stopping,
        )
    )
    keeper.health.followers.append(sleepers.follow)
    return sleepers
