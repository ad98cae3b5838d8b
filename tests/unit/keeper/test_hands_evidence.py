"""The order to init waits for the evidence, and only the newest order is given."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.healing.actions import Recreate, RestartTree, StopTree
from holdfast.healing.model import Ladder, Tier
from holdfast.init.protocol import AgentDef
from holdfast.keeper.acting.hands import InitHands
from holdfast.keeper.agent import Agent
from holdfast.keeper.tasks import Tasks
from tests.unit.keeper.test_collecting import hung

HUNG = RestartTree(instance=1, tier=Tier.RESTART, hung=True, grace_s=5.0)


class Line:
    connected = True

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def send(self, op: str, **fields: Any) -> bool:
        if op != "permit":
            self.said.append((op, fields))
        return True

    def request(self, op: str, **fields: Any) -> asyncio.Future[dict[str, Any]]:
        return asyncio.get_running_loop().create_future()


class Place:
    def __init__(self) -> None:
        self.recreated = 0

    def definition(self, agent: Agent) -> AgentDef:
        return AgentDef(argv=["x"], env={}, cwd="/", fifo="/f", lock="/l")

    def recreate(self, agent: Agent) -> AgentDef:
        self.recreated += 1
        return self.definition(agent)

    def announce(self, agent: Agent, what: str, grace_s: float) -> None:
        pass

    def stop_writes(self, agent: Agent) -> tuple[()]:
        return ()


class Look:
    """Done when the test says so."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.asked = 0

    def wanted(self, agent: Agent, instance: int) -> bool:
        return not self.done.is_set()

    async def look(self, agent: Agent, instance: int) -> None:
        self.asked += 1
        await self.done.wait()


class Scene:
    def __init__(self) -> None:
        self.line, self.place, self.look, self.tasks = Line(), Place(), Look(), Tasks()
        self.agent = hung()
        self.hands = InitHands(
            self.line,  # type: ignore[arg-type]
            self.place,  # type: ignore[arg-type]
            self.tasks,
            self.look,
            lambda: 1.0,
            failed=lambda agent, why: pytest.fail(why),
            not_there=lambda agent: None,
            changed=lambda agent: None,
        )

    async def finish(self) -> list[str]:
        self.look.done.set()
        await self.tasks.finish(5.0)
        return [op for op, _ in self.line.said]


def test_a_hung_agent_is_restarted_when_the_look_is_over() -> None:
    async def check() -> None:
        scene = Scene()
        scene.hands.restart(scene.agent, HUNG)
        await asyncio.sleep(0)
        assert scene.line.said == []
        assert await scene.finish() == ["restart"]
        assert scene.line.said[0][1]["instance"] == 1

    asyncio.run(check())


def test_an_act_that_is_repeated_is_still_given_once() -> None:
    async def check() -> None:
        scene = Scene()
        for _ in range(3):
            scene.hands.restart(scene.agent, HUNG)
        assert await scene.finish() == ["restart"]

    asyncio.run(check())


def test_after_the_look_a_repeated_act_goes_out_at_once() -> None:
    async def check() -> None:
        scene = Scene()
        scene.look.done.set()  # as after a keeper that looked and died before it told init
        scene.hands.restart(scene.agent, HUNG)
        assert [op for op, _ in scene.line.said] == ["restart"]
        assert scene.look.asked == 0

    asyncio.run(check())


def test_a_stop_given_meanwhile_takes_the_place_of_the_restart() -> None:
    async def check() -> None:
        scene = Scene()
        scene.hands.restart(scene.agent, HUNG)
        scene.hands.stop(scene.agent, StopTree(instance=1, grace_s=5.0))
        assert await scene.finish() == ["stop"]

    asyncio.run(check())


def test_a_new_instance_makes_the_waiting_restart_void() -> None:
    async def check() -> None:
        scene = Scene()
        scene.hands.restart(scene.agent, HUNG)
        await asyncio.sleep(0)
        scene.agent.memory.ladder = Ladder(instance=2, running=True)
        assert await scene.finish() == []

    asyncio.run(check())


def test_the_new_place_is_made_only_after_the_look() -> None:
    async def check() -> None:
        scene = Scene()
        scene.hands.recreate(scene.agent, Recreate(instance=1, grace_s=5.0))
        await asyncio.sleep(0)
        assert scene.place.recreated == 0
        assert await scene.finish() == ["restart"]
        assert scene.place.recreated == 1

    asyncio.run(check())
