"""A look that hangs is said, holds up nobody else, and its late answer is heard only if it is still wanted."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from holdfast import limits
from holdfast.clock import SystemClock
from holdfast.health.model import Judgement
from holdfast.keeper.agent import Agent
from holdfast.keeper.watching import file_looks
from holdfast.keeper.watching.file_beats import FileSource
from holdfast.keeper.watching.sources import Turn
from holdfast.spec.model import FileBeat, Health
from tests.unit.keeper.test_collecting import hung


def watching(name: str, path: str) -> Agent:
    agent = hung()
    agent.spec = structs.replace(agent.spec, name=name, health=Health(file=FileBeat(path=path, max_age_s=4.0)))
    return agent


def test_a_look_that_hangs_is_said_of_its_agent_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILE_LOOK_TIMEOUT_S", 0.02)
    released, real = threading.Event(), file_looks.look

    def look(path: str) -> tuple[file_looks.Stamp | None, str]:
        if path == "/dead":
            released.wait(30.0)
            return (1, 1, 1), ""
        return real(path)

    monkeypatch.setattr(file_looks, "look", look)
    said: dict[str, list[tuple[Judgement, str]]] = {"stuck": [], "well": []}

    async def check() -> None:
        agents = {"stuck": watching("stuck", "/dead"), "well": watching("well", str(tmp_path / "beat"))}
        reporter: Any = SimpleNamespace(
            agent=lambda name, instance: agents[name],
            report=lambda source, name, instance, judgement, detail, now: said[name].append((judgement, detail)),
        )
        source = FileSource(reporter, SystemClock())

        async def until(name: str, words: str) -> None:
            async with asyncio.timeout(10.0):
                while not any(words in detail for _, detail in said[name]):
                    for agent in agents.values():
                        source.look(agent, Turn(asyncio.get_running_loop().time(), True))
                    await asyncio.sleep(0.005)

        await until("stuck", "its file system does not answer")
        await until("well", "does not exist")
        agents["stuck"] = watching("stuck", str(tmp_path / "moved"))
        await until("stuck", "moved does not exist")
        said["stuck"].clear()
        released.set()
        await until("stuck", "moved does not exist")
        assert all("/dead" not in detail and judgement is not Judgement.OK for judgement, detail in said["stuck"])
        source.close()

    asyncio.run(check())
