"""The sources `command` and `function`: commands that say how an agent is, run with its rights beside it.

Invariants: a bounded number at once over the node; no probe of an agent while its last one runs; a probe that had to
wait, or ran while the machine was starved, fails nobody; what an instance's probe says about a later one is dropped.
What answers mean is decided in health/command.py; processes are the prober's business (health/prober.py), which is
started with the first probe. Called by sources.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast import limits, recipes
from holdfast.errors import HoldfastError
from holdfast.health import command
from holdfast.health.command import CommandState, Ran
from holdfast.health.model import Judgement
from holdfast.home import Home
from holdfast.init.protocol import AgentDef
from holdfast.keeper.acting.places import NodePlaces
from holdfast.keeper.agent import Agent
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.watching.sources import Reporter, Turn
from holdfast.node import reach
from holdfast.recipes.function import PYTHON
from holdfast.spec.model import AgentSpec, CommandProbe

# What only the agent itself may have: its beats, and the word that somebody hears them.
_NOT_FOR_PROBES = ("HOLDFAST_AGENT", "HOLDFAST_INSTANCE", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_PYTHONS = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")
_STARVED = "the machine is starved"


class ProberLink:
    """The prober, started when it is needed; a dead one is replaced, and its runs count as not asked."""

    def __init__(self, home: Home, roots: list[str], tasks: Tasks) -> None:
        self._home = home
        self._roots = roots
        self._tasks = tasks
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._starting = asyncio.Lock()
        self._number = 0

    async def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """The prober's answer; {"skipped": why} when there is none."""
        try:
            async with self._starting:
                writer = self._writer or await self._start()
        except OSError as error:
            return {"skipped": f"the prober could not be started: {error.strerror}"}
        self._number += 1
        number = self._number
        mark = f"{self._home.home_id()}:{request['agent']}:{number}"
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            writer.write(json.dumps({**request, "id": number, "mark": mark, "roots": self._roots}).encode() + b"\n")
            async with asyncio.timeout(request["timeout_s"] + limits.PROBER_SLACK_S):
                told: dict[str, Any] = await answer
                return told
        except TimeoutError:
            return {"timed_out": True}  # not to be ended: it hangs in the kernel
        except OSError:
            return {"skipped": "the prober ended"}
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """The prober sees it, ends its runs and leaves."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _start(self) -> asyncio.StreamWriter:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "holdfast.health.prober", str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
        except OSError:
            ours.close()
            raise
        reader, writer = await asyncio.open_connection(sock=ours, limit=limits.PROBER_ANSWER_MAX_BYTES)
        writer.write(json.dumps({"roots": self._roots, "home_id": self._home.home_id()}).encode() + b"\n")
        self._writer = writer
        self._tasks.spawn(self._hear(process, reader, writer))
        return writer

    async def _hear(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answers, until the prober is gone."""
        try:
            while line := await reader.readline():
                answer = json.loads(line)
                waiting = self._waiting.get(answer["id"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (OSError, ValueError):
            pass
        finally:
            if self._writer is writer:
                self._writer = None
                for waiting in self._waiting.values():
                    if not waiting.done():
                        waiting.set_result({"skipped": "the prober ended"})
            writer.close()
        await process.wait()


class Probing:
    """What both sources share: the agent's rights, the bounded number, the way from a request to a `Ran`."""

    def __init__(
        self, home: Home, places: NodePlaces, reporter: Reporter, tasks: Tasks, starved: Callable[[float], bool]
    ) -> None:
        roots = places.plan.v2_root or (places.plan.v1_roots.get(places.plan.tracker) if places.plan.tracker else None)
        self.link = ProberLink(home, [str(roots)] if roots else [], tasks)
        self.reporter = reporter
        self.tasks = tasks
        self._places = places
        self._starved = starved
        self._slots = asyncio.Semaphore(limits.PROBES_AT_ONCE_PER_CORE * (os.cpu_count() or 1))
        self._definitions: dict[str, tuple[AgentSpec, int, AgentDef]] = {}

    async def run(
        self, agent: Agent, argv: tuple[str, ...], env: dict[str, str], timeout_s: float, *, must: bool = False
    ) -> Ran:
        """One run with the agent's rights. `must`: also on a machine that is starved."""
        loop = asyncio.get_running_loop()
        async with self._slots:
            if not must and self._starved(loop.time()):
                return Ran(skipped=_STARVED)
            answering = self._places.answering
            if answering is not None and (why := await answering.unanswered(agent.spec)):
                return Ran(broken=why)
            try:
                definition = self._definition(agent)
            except (HoldfastError, OSError) as error:
                return Ran(broken=str(error))
            program = argv[0] if argv[0] != PYTHON else self._python(agent, definition)
            if not program:
                return Ran(broken="its user can run no Python")
            base = {name: value for name, value in definition.env.items() if name not in _NOT_FOR_PROBES}
            answer = await self.link.run(
                {
                    "agent": agent.name,
                    "argv": [program, *argv[1:]],
                    "env": {**base, **env},
                    "cwd": definition.cwd,
                    "timeout_s": timeout_s,
                    "uid": definition.uid,
                    "gid": definition.gid,
                    "groups": definition.groups,
                }
            )
        if answer.get("timed_out") and self._starved(loop.time()):
            return Ran(skipped=_STARVED)
        return ran(answer)

    def forget(self, agent: str) -> None:
        self._definitions.pop(agent, None)

    def _python(self, agent: Agent, definition: AgentDef) -> str:
        """A Python that the agent's user can run; "" when there is none."""
        uid = os.geteuid() if definition.uid is None else definition.uid
        gids = {os.getegid(), *os.getgroups()} if definition.gid is None else {definition.gid, *definition.groups}
        for path in _PYTHONS:
            try:
                reach.check(Path(path), uid, gids, reach.EXECUTE)
            except (OSError, reach.Unreachable):
                continue
            return path
        return ""

    def _definition(self, agent: Agent) -> AgentDef:
        """How init starts the agent: worked out once for each spec and pod, since that looks at the disk."""
        known = self._definitions.get(agent.name)
        if known is None or known[0] is not agent.spec or known[1] != agent.memory.pod:
            known = (agent.spec, agent.memory.pod, self._places.definition(agent))
            self._definitions[agent.name] = known
        return known[2]


def ran(answer: dict[str, Any]) -> Ran:
    """The prober's answer in the tracker's words."""
    line = next((one.strip() for one in str(answer.get("out", "")).splitlines() if one.strip()), "")
    return Ran(
        code=answer.get("code"),
        signal=str(answer.get("signal", "")),
        timed_out=bool(answer.get("timed_out")),
        broken=str(answer.get("broken", "")),
        skipped=str(answer.get("skipped", "")),
        line=line,
    )


class CommandSource:
    """`health.command`. See sources.Source."""

    name = "command"

    def __init__(self, probing: Probing) -> None:
        self._probing = probing
        self._states: dict[str, tuple[int, CommandState]] = {}  # by agent, with the instance
        self._running: set[str] = set()

    def interval_s(self, spec: AgentSpec) -> float | None:
        return None if spec.health.command is None else max(1.0, spec.health.command.interval_s)

    def begin(self, agent: Agent) -> None:
        self._states[agent.name] = (agent.ladder.instance, CommandState())

    def look(self, agent: Agent, turn: Turn) -> None:
        """Ask, once its start gate has passed."""
        if agent.name not in self._running and agent.ladder.gate_passed:
            self._running.add(agent.name)
            self._probing.tasks.spawn(self._ask(agent, agent.ladder.instance))

    async def _ask(self, agent: Agent, instance: int) -> None:
        try:
            answer, rule = await self._answer(agent)
        finally:
            self._running.discard(agent.name)
        if answer is None or self._probing.reporter.agent(agent.name, instance) is None:
            return
        held, state = self._states.get(agent.name, (instance, CommandState()))
        state, judgement, detail = command.judge(rule, state if held == instance else CommandState(), answer)
        self._states[agent.name] = (instance, state)
        now = asyncio.get_running_loop().time()
        self._probing.reporter.report(self.name, agent.name, instance, judgement, detail, now)

    async def _answer(self, agent: Agent) -> tuple[Ran | None, CommandProbe]:
        rule = agent.spec.health.command
        if rule is None:
            return None, CommandProbe(command=())
        return await self._probing.run(agent, rule.command, {}, rule.timeout_s), rule

    def forget(self, agent: str) -> None:
        self._states.pop(agent, None)
        self._probing.forget(agent)


class FunctionSource(CommandSource):
    """The recipe's own probe of function. Where it cannot be asked nothing is known; it never restarts by silence."""

    name = "function"

    def interval_s(self, spec: AgentSpec) -> float | None:
        if not spec.health.function or recipes.find(spec.recipe).function_probe(spec) is None:
            return None
        return max(1.0, spec.health.function_interval_s)

    async def _answer(self, agent: Agent) -> tuple[Ran | None, CommandProbe]:
        probe = recipes.find(agent.spec.recipe).function_probe(agent.spec)
        rule = CommandProbe(command=(), retries=limits.FUNCTION_RETRIES, timeout_s=limits.FUNCTION_TIMEOUT_S)
        if probe is None:
            return None, rule
        return understood(await self._probing.run(agent, probe.argv, probe.env, rule.timeout_s)), rule


def understood(answer: Ran) -> Ran:
    """What the probe printed, as a judgement of its own; anything else is unknown."""
    if answer.skipped:
        return answer
    try:
        told = json.loads(answer.line)
        return Ran(said=Judgement(told["judgement"]), line=str(told.get("detail", "")))
    except (ValueError, KeyError, TypeError):
        reason = answer.broken or ("it did not answer in time" if answer.timed_out else "its answer is not understood")
        return Ran(said=Judgement.UNKNOWN, line=f"cannot be asked: {reason}")
