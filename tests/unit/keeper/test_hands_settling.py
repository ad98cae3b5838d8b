"""A start waits for files that are to be cut while the agent is down, and a stop given meanwhile wins."""

from __future__ import annotations

import asyncio

from holdfast.healing.actions import Start, StopTree
from holdfast.healing.model import Tier
from holdfast.keeper.agent import Agent
from tests.unit.keeper.test_hands_evidence import Scene

START = Start(instance=1, tier=Tier.NONE)


class Files:
    """Settled when the test says so."""

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits
        self.done = asyncio.Event()

    def waits(self, agent: Agent) -> bool:
        return self._waits

    async def settle(self, agent: Agent) -> None:
        await self.done.wait()


async def ops(scene: Scene, files: Files) -> list[str]:
    files.done.set()
    await scene.tasks.finish(5.0)
    return [op for op, _ in scene.line.said]


def down(scene: Scene) -> None:
    scene.agent.world.state, scene.agent.world.pid = "down", 0


def test_a_start_waits_until_the_files_are_settled() -> None:
    async def check() -> None:
        scene, files = Scene(), Files(waits=True)
        down(scene)
        scene.hands.settling = files
        scene.hands.start(scene.agent, START)
        await asyncio.sleep(0)
        assert scene.line.said == []
        assert await ops(scene, files) == ["start"]

    asyncio.run(check())


def test_a_start_with_nothing_to_settle_goes_out_at_once() -> None:
    async def check() -> None:
        scene = Scene()
        down(scene)
        scene.hands.settling = Files(waits=False)
        scene.hands.start(scene.agent, START)
        assert [op for op, _ in scene.line.said] == ["start"]

    asyncio.run(check())


def test_a_stop_given_meanwhile_takes_the_place_of_the_start() -> None:
    async def check() -> None:
        scene, files = Scene(), Files(waits=True)
        down(scene)
        scene.hands.settling = files
        scene.hands.start(scene.agent, START)
        scene.hands.stop(scene.agent, StopTree(instance=1, grace_s=5.0))
        assert await ops(scene, files) == ["stop"]

    asyncio.run(check())
