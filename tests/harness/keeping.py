"""Snapshots and their upkeep with jobs that are played: what the keeper asks for, and when, without a worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from msgspec import structs

from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.state.snapshots import Snapshots
from holdfast.keeper.state.state_upkeep import StateUpkeep
from holdfast.keeper.tasks import Tasks
from holdfast.spec.model import AgentSpec, State
from tests.harness.hurried import HurriedLoop

AT = 1_790_000_000.0
Answer = Callable[[str, dict[str, Any]], Coroutine[Any, Any, dict[str, Any]]]


def row(number: int) -> dict[str, Any]:
    return {
        "id": f"{number:032x}", "cause": "timer", "label": "", "files": 1, "bytes": 1, "bytes_new": 1, "took_s": 0.1,
        "consistency": "guard",
    }  # fmt: skip


class PlayedJobs:
    """In place of StateJobs. `answers[job]` is awaited with the agent's name and the arguments; it may raise."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "state"
        self.link = SimpleNamespace(close=lambda: None)
        self.answers: dict[str, Answer] = {"snapshot": self.taken}
        self.asked: list[tuple[float, str, str, dict[str, Any]]] = []  # when, job, agent, arguments
        self.made: Counter[str] = Counter()
        self.now: Counter[str] = Counter()  # jobs under way, by agent
        self.most = 0  # of one agent at once
        self._locks: dict[str, asyncio.Lock] = {}

    async def taken(self, name: str, args: dict[str, Any]) -> dict[str, Any]:
        self.made[name] += 1
        return {"snapshot": row(self.made[name]), "unchanged_since": "", "same_disk": False}

    def directory(self, name: str) -> Path:
        return self.root / name

    def has_repository(self, name: str) -> bool:
        return True

    def prepare(self, name: str) -> None:
        self.directory(name).mkdir(parents=True, exist_ok=True)

    def writing(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def forget(self, name: str) -> None: ...

    async def run(
        self, job: str, name: str, *, gentle: bool = False, **more: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        self.asked.append((asyncio.get_running_loop().time(), job, name, more))
        self.now[name] += 1
        self.most = max(self.most, self.now[name])
        try:
            yield {"result": await self.answers[job](name, more)}
        finally:
            self.now[name] -= 1

    async def ask(self, job: str, name: str, *, gentle: bool = False, **more: Any) -> dict[str, Any]:
        async for message in self.run(job, name, gentle=gentle, **more):
            return message["result"]  # type: ignore[no-any-return]
        raise AssertionError("no answer")

    def times(self, job: str, name: str = "") -> list[float]:
        return [at for at, asked, of, _ in self.asked if asked == job and name in ("", of)]


class Keeping:
    """Make it inside the loop."""

    def __init__(self, directory: Path, *names: str, **state: Any) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, HurriedLoop)
        self.loop = loop
        self.records: list[tuple[str, str, str]] = []  # kind, agent, text
        self.alarms: dict[str, str] = {}  # that are raised: key and summary
        self.short_of: tuple[str, ...] = ()
        self.agents: dict[str, Agent] = {}
        self.jobs = PlayedJobs(directory)
        self.tasks = Tasks()
        recorder: Any = SimpleNamespace(record=self._record)
        starvation: Any = SimpleNamespace(feel=lambda now: False, pressure=self)
        clock: Any = SimpleNamespace(now_mono=self.loop.time, now_at=lambda: AT + self.loop.time())
        alarms: Any = SimpleNamespace(
            raise_=lambda key, agent, said: self.alarms.setdefault(key, said.summary),
            clear=lambda key, agent, text: self.alarms.pop(key, None),
        )
        jobs: Any = self.jobs
        self.snapshots = Snapshots(self.agents, jobs, starvation, recorder, self.tasks, self.loop.time)
        self.upkeep = StateUpkeep(self.agents, self.snapshots, recorder, alarms, self.tasks, clock)
        self.snapshots.changed, self.snapshots.told = self.upkeep.made, self.upkeep.trouble
        for name in names:
            self.add(name, **state)

    def _record(self, kind: str, agent: str, text: str, body: Any = None, **_: Any) -> None:
        self.records.append((kind, agent, text))

    def add(self, name: str, **state: Any) -> Agent:
        declared = State(paths=("/srv/x",), **{"every_s": 60.0, **state})
        spec = AgentSpec(name=name, command=("x",), working_dir="/", state=declared)
        ladder = Ladder(phase=Phase.HEALTHY, running=True, instance=1, good_since_mono=self.loop.time())
        agent = self.agents[name] = Agent(spec, Policy(), Memory(ladder=ladder))
        agent.world = structs.replace(agent.world, pid=1, epoch=1)
        self.snapshots.follow(agent, self.loop.time())
        return agent

    def said(self, kind: str) -> list[str]:
        return [text for known, _, text in self.records if known == kind]

    async def close(self) -> None:
        self.upkeep.close()
        self.snapshots.close()
        await self.tasks.finish(0.0)
