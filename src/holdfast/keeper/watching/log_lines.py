"""The source `log`: what an agent prints, and when it last did. What it means is decided in health/log_watch.py.

Invariants: the keeper itself searches nothing: the matcher, a process of its own, reads and searches, one agent after
the other, and where it cannot keep up the newest lines are searched and the rest is told; a matcher that does not
answer in time is ended and started anew, and what it had not told counts as unheard. It is started when the first agent
declares `health.log` and ends with the last. Called by sources.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import Any

from holdfast import limits
from holdfast.health import log_watch
from holdfast.health.log_watch import Heard, LogState
from holdfast.home import Home
from holdfast.keeper.agent import Agent
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.watching import beats
from holdfast.keeper.watching.sources import Reporter, Turn
from holdfast.spec.model import AgentSpec, LogWatch

LOG = "log"  # name of the file that the logger writes now


class LogSource:
    """See sources.Source."""

    name = "log"

    def __init__(self, home: Home, reporter: Reporter, tasks: Tasks) -> None:
        self._home = home
        self._reporter = reporter
        self._tasks = tasks
        self._states: dict[str, tuple[int, LogState]] = {}  # by agent, with the instance
        self._watched: set[str] = set()
        self._queue: asyncio.Queue[tuple[str, int, Turn]] = asyncio.Queue()
        self._queued: set[str] = set()
        self._matcher: asyncio.subprocess.Process | None = None
        self._works = False
        self._number = 0

    def interval_s(self, spec: AgentSpec) -> float | None:
        return None if spec.health.log is None else log_watch.interval_s(spec.health.log)

    def begin(self, agent: Agent) -> None:
        self._watched.add(agent.name)
        self._states[agent.name] = (agent.ladder.instance, LogState())
        self.look(agent, Turn(asyncio.get_running_loop().time(), True))

    def look(self, agent: Agent, turn: Turn) -> None:
        if agent.name in self._queued:
            return  # the matcher has not come to its last look yet
        self._queued.add(agent.name)
        self._queue.put_nowait((agent.name, agent.ladder.instance, turn))
        if not self._works:
            self._works = True
            self._tasks.spawn(self._work())

    def forget(self, agent: str) -> None:
        self._states.pop(agent, None)
        self._watched.discard(agent)
        if not self._watched:
            self.close()

    def close(self) -> None:
        if self._matcher is not None and self._matcher.stdin is not None:
            self._matcher.stdin.close()  # it ends by itself
            self._matcher = None

    # --- the matcher ---------------------------------------------------------------------------------------------
    async def _work(self) -> None:
        """Until nothing is queued."""
        try:
            while not self._queue.empty():
                name, instance, turn = self._queue.get_nowait()
                self._queued.discard(name)
                agent = self._reporter.agent(name, instance)
                if agent is None or agent.spec.health.log is None:
                    continue
                answer = await self._ask(name, instance, agent.spec.health.log)
                if answer is not None:
                    self._judge(name, instance, turn, answer)
        finally:
            self._works = False

    async def _ask(self, name: str, instance: int, rule: LogWatch) -> dict[str, Any] | None:
        """One answer; None when the matcher could not give one (it is started anew with the next question)."""
        self._number += 1
        request = {
            "id": self._number, "agent": name, "instance": instance,
            "path": os.fspath(self._home.agent_logs(name) / LOG), "patterns": [one.pattern for one in rule.patterns],
        }  # fmt: skip
        try:
            matcher = self._matcher or await self._start()
            assert matcher.stdin is not None
            assert matcher.stdout is not None
            matcher.stdin.write(json.dumps(request).encode() + b"\n")
            async with asyncio.timeout(limits.MATCHER_TIMEOUT_S):
                line = await matcher.stdout.readline()
            answer: dict[str, Any] = json.loads(line)
            return answer if answer["id"] == self._number and "broken" not in answer else None
        except (OSError, ValueError, KeyError, TimeoutError):
            await self._end()
            return None

    async def _start(self) -> asyncio.subprocess.Process:
        self._matcher = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "holdfast.health.matcher"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=limits.MATCHER_ANSWER_MAX_BYTES,
        )
        return self._matcher

    async def _end(self) -> None:
        matcher, self._matcher = self._matcher, None
        if matcher is not None:
            with contextlib.suppress(ProcessLookupError):
                matcher.kill()
            await matcher.wait()

    def _judge(self, name: str, instance: int, turn: Turn, answer: dict[str, Any]) -> None:
        agent = self._reporter.agent(name, instance)
        if agent is None or agent.spec.health.log is None:
            return
        rule, now = agent.spec.health.log, asyncio.get_running_loop().time()
        slow = [rule.patterns[number].pattern for number in answer["slow"] if number < len(rule.patterns)]
        skipped = answer["skipped"]
        heard = Heard(
            lines=bool(answer["lines"]) or skipped > 0,
            hits=tuple(answer["hits"]),
            quotes=tuple(answer["quotes"]),
            disabled=tuple(f"/{one}/ takes too long and is not searched any more" for one in slow),
            behind="it prints faster than its log is searched" if skipped and rule.patterns else "",
            able=turn.able,
            excused=bool(beats.excuse(agent, now)),
        )
        held, state = self._states.get(name, (instance, LogState()))
        state = state if held == instance else LogState()
        state, judgement, detail = log_watch.judge(rule, agent.spec.health.start_period_s, state, heard, now)
        self._states[name] = (instance, state)
        self._reporter.report(self.name, name, instance, judgement, detail, now)
