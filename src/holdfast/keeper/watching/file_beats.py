"""The source `file`: heartbeat files that living loops touch. What a look means is decided in health/file_beat.py.

Invariant: only the file's name is looked up, in a thread that may be given up; an answer about an older instance is
dropped by the reporter. Called by sources.py.
"""

from __future__ import annotations

import asyncio

from holdfast.clock import Clock
from holdfast.health import file_beat
from holdfast.health.file_beat import FileState, Look
from holdfast.keeper.agent import Agent
from holdfast.keeper.watching import beats
from holdfast.keeper.watching.file_looks import NO_ANSWER, FileLooks, Stamp
from holdfast.keeper.watching.sources import Reporter, Turn
from holdfast.spec.model import AgentSpec


class FileSource:
    """See sources.Source."""

    name = "file"

    def __init__(self, reporter: Reporter, clock: Clock) -> None:
        self._reporter = reporter
        self._clock = clock
        self._looks = FileLooks()
        self._states: dict[str, tuple[int, FileState]] = {}  # by agent, with the instance
        self._asked: dict[str, list[str]] = {}  # whose look is under way, each a list of its own with the path

    def interval_s(self, spec: AgentSpec) -> float | None:
        return None if spec.health.file is None else file_beat.interval_s(spec.health.file)

    def begin(self, agent: Agent) -> None:
        self._states[agent.name] = (agent.ladder.instance, FileState())
        self.look(agent, Turn(asyncio.get_running_loop().time(), True))

    def look(self, agent: Agent, turn: Turn) -> None:
        rule = agent.spec.health.file
        if rule is None:
            return
        name, instance = agent.name, agent.ladder.instance
        under_way = self._asked.get(name)
        if under_way is not None and under_way[0] == rule.path:
            if self._looks.is_held_up(rule.path):
                self._judge(name, instance, turn, None, NO_ANSWER)
            return
        asked = self._asked[name] = [rule.path]

        def answer(stamp: Stamp | None, blocked: str) -> None:
            if self._asked.get(name) is not asked:
                return  # about a path that is no longer the agent's
            del self._asked[name]
            self._judge(name, instance, turn, stamp, blocked)

        self._looks.ask(rule.path, answer)

    def _judge(self, name: str, instance: int, turn: Turn, stamp: Stamp | None, blocked: str) -> None:
        agent = self._reporter.agent(name, instance)
        if agent is None or agent.spec.health.file is None:
            return
        held, state = self._states.get(name, (instance, FileState()))
        now = asyncio.get_running_loop().time()
        look = Look(
            stamp=stamp, blocked=blocked, age_s=max(0.0, now - agent.world.spawned_mono), at=self._clock.now_at(),
            spawned_at=agent.world.spawned_at, able=turn.able, excused=beats.excuse(agent, now) == "busy",
        )  # fmt: skip
        state = state if held == instance else FileState()
        health = agent.spec.health
        assert health.file is not None
        state, judgement, detail = file_beat.judge(health.file, health.start_period_s, state, look, now)
        self._states[name] = (instance, state)
        self._reporter.report(self.name, name, instance, judgement, detail, now)

    def forget(self, agent: str) -> None:
        self._states.pop(agent, None)
        self._asked.pop(agent, None)

    def close(self) -> None:
        self._looks.close()
