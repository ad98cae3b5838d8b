"""Joins the RAM semaphore with the rest of the keeper: made first, since others read it; joined when they are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast import limits
from holdfast.keeper.density.loop import Parts, Semaphore
from holdfast.keeper.density.unheld import Unheld

if TYPE_CHECKING:
    from holdfast.keeper.keeper import Keeper


def build(keeper: Keeper) -> Semaphore:
    """Made before the world is known."""
    return Semaphore(
        Parts(
            agents=keeper.agents,
            healer=keeper.healer,
            hands=keeper.hands,
            link=keeper.link,
            places=keeper.places,
            recorder=keeper.recorder,
            tasks=keeper.tasks,
            home_id=keeper.home.home_id(),
            fleet=lambda: keeper.fleet,
        )
    )


def join(keeper: Keeper) -> None:
    """Once starts, sleepers and the queue are made."""
    semaphore = keeper.semaphore
    semaphore.starts, semaphore.sleepers = keeper.starts, keeper.sleepers
    semaphore.asking.run = lambda agent, argv, env, timeout_s: keeper.listening.probing.run(
        agent, argv, env, timeout_s, must=True
    )
    keeper.health.followers.append(lambda agent, now: semaphore.changed(agent))
    unheld = Unheld(keeper.agents, semaphore.groups, keeper.recorder)

    def turned() -> None:
        keeper.queue.room_changed()
        unheld.look(keeper.clock.now_mono())

    semaphore.turned = turned
    keeper.intake.dies = semaphore.died
    keeper.starvation.holders.append(semaphore.holds_back)


def guess_most(keeper: Keeper) -> int | None:
    """Bytes that a start of which nothing is known may be counted with on this node; None before it was looked at."""
    node = keeper.semaphore.node
    return None if node is None else int(node.budget_bytes * limits.START_GUESS_SHARE)
