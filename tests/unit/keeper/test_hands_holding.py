"""Nothing starts an agent whose files are being replaced: not a start, not a restart, not a new place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.healing.actions import Recreate, RestartTree, Restore, Start
from holdfast.healing.model import Tier
from holdfast.keeper.agent import Agent
from tests.unit.keeper.test_hands_evidence import Scene

ACTS: list[tuple[str, Any]] = [
    ("start", Start(instance=1, tier=Tier.NONE)),
    ("restart", RestartTree(instance=1, tier=Tier.RESTART, hung=False, grace_s=1.0)),
    ("recreate", Recreate(instance=1, grace_s=1.0)),
]


class Restores:
    """Over when the test says so."""

    def __init__(self, why: str = "") -> None:
        self.why = why
        self.over = asyncio.Event()
        self.acts: list[Restore] = []

    def waits(self, agent: Agent) -> bool:
        return not self.over.is_set()

    async def settle(self, agent: Agent) -> str:
        await self.over.wait()
        return self.why

    def by_ladder(self, agent: Agent, act: Restore) -> None:
        self.acts.append(act)


def down(scene: Scene) -> None:
    scene.agent.world.state, scene.agent.world.pid = "down", 0
    scene.look.done.set()


@pytest.mark.parametrize(("name", "act"), ACTS)
def test_an_act_waits_for_the_restore_and_goes_out_after_it(name: str, act: Any) -> None:
    async def check() -> None:
        scene, restores = Scene(), Restores()
        down(scene)
        scene.hands.holding = restores
        getattr(scene.hands, name)(scene.agent, act)
        for _ in range(5):
            await asyncio.sleep(0)
        assert scene.line.said == []
        restores.over.set()
        await scene.tasks.finish(5.0)
        assert [op for op, _ in scene.line.said] == ["start" if name == "start" else "restart"]

    asyncio.run(check())


def test_a_restore_that_is_stuck_is_a_start_that_failed() -> None:
    async def check() -> None:
        scene, restores = Scene(), Restores("neither old nor new")
        down(scene)
        scene.hands.holding = restores
        scene.hands.start(scene.agent, ACTS[0][1])
        restores.over.set()
        restores.waits = lambda agent: True  # type: ignore[method-assign]
        await scene.tasks.finish(5.0)
        assert scene.line.said == []

    asyncio.run(check())


def test_tier_three_is_handed_on() -> None:
    async def check() -> None:
        scene, restores = Scene(), Restores()
        down(scene)
        scene.hands.holding = restores
        scene.hands.restore(scene.agent, Restore(instance=1, grace_s=1.0))
        await scene.tasks.finish(5.0)
        assert len(restores.acts) == 1

    asyncio.run(check())
