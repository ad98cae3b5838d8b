"""What a start touches is asked first where it may not answer, and only the newest order is given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from holdfast.healing.actions import Recreate, RestartTree, Start, StopTree
from holdfast.healing.model import Tier
from holdfast.spec.model import AgentSpec
from tests.unit.keeper.test_hands_evidence import Scene

START = Start(instance=1, tier=Tier.NONE)
RESTART = RestartTree(instance=1, tier=Tier.RESTART, hung=False, grace_s=5.0)


class Files:
    """Answer when the test says so."""

    def __init__(self, why: str = "", doubt: str = "/mnt") -> None:
        self.answered = asyncio.Event()
        self.why, self.doubt = why, doubt

    def in_doubt(self, spec: AgentSpec) -> str:
        return self.doubt

    async def unanswered(self, spec: AgentSpec) -> str:
        await self.answered.wait()
        return self.why

    def is_local(self, paths: Sequence[str]) -> bool:
        return not self.doubt


async def scene(files: Files) -> Scene:
    made = Scene()
    made.look.done.set()
    made.hands.asking = files
    return made


def ops(made: Scene) -> list[str]:
    return [op for op, _ in made.line.said]


def test_local_files_are_never_waited_for() -> None:
    async def check() -> None:
        made = await scene(Files(doubt=""))
        made.hands.start(made.agent, START)
        assert ops(made) == ["start"]

    asyncio.run(check())


def test_acts_wait_for_files_that_may_not_answer() -> None:
    async def check() -> None:
        files = Files()
        made = await scene(files)
        made.hands.start(made.agent, START)
        made.hands.recreate(made.agent, Recreate(instance=1, grace_s=5.0))
        await asyncio.sleep(0)
        assert ops(made) == []
        files.answered.set()
        await made.tasks.finish(5.0)
        assert ops(made) == ["restart"]  # the recreation took the place of the start
        assert made.place.recreated == 1

    asyncio.run(check())


def test_an_order_given_meanwhile_takes_its_place() -> None:
    async def check() -> None:
        files = Files()
        made = await scene(files)
        made.hands.restart(made.agent, RESTART)
        made.hands.stop(made.agent, StopTree(instance=1, grace_s=5.0))
        files.answered.set()
        await made.tasks.finish(5.0)
        assert ops(made) == ["stop"]

    asyncio.run(check())


def test_files_that_do_not_answer_are_a_spawn_that_failed() -> None:
    async def check() -> None:
        files = Files(why="its file system does not answer (/mnt)")
        made = await scene(files)
        said: list[str] = []
        made.hands._failed = lambda agent, why: said.append(why)
        made.hands.start(made.agent, START)
        files.answered.set()
        await made.tasks.finish(5.0)
        assert ops(made) == []
        assert said == ["its file system does not answer (/mnt)"]

    asyncio.run(check())
