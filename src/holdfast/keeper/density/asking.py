"""Asks agents to give memory back, in the way that each of them declares: a signal, a POST, or a command beside it.

Invariants: nobody waits for an answer, and no answer is waited for longer than limits.ASK_MEMORY_S; one asking of an
agent at a time; a signal goes only to who handles it, since it would end anybody else. What became of it is recorded.
Called by acts.py; who can be asked at all is read by readings.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from holdfast import limits
from holdfast.evidence import stacks
from holdfast.health.command import Ran
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks
from holdfast.node import processes
from holdfast.sizes import size
from holdfast.spec.model import AskMemory

ENV = "HOLDFAST_ASK_BYTES"
_ANSWER_MAX_BYTES = 4096
Run = Callable[[Agent, tuple[str, ...], dict[str, str], float], Awaitable[Ran]]


async def _nobody_runs(agent: Agent, argv: tuple[str, ...], env: dict[str, str], timeout_s: float) -> Ran:
    return Ran(broken="no command can be run beside it yet")


class Asking:
    """`run`: a command with the agent's rights and environment; joined by the keeper."""

    def __init__(self, recorder: Recorder, tasks: Tasks) -> None:
        self._recorder = recorder
        self._tasks = tasks
        self.run: Run = _nobody_runs
        self._under_way: set[str] = set()

    def ask(self, agent: Agent, wanted_bytes: int) -> None:
        """Begin it; nothing when it is being asked already, or knows no way."""
        way = agent.spec.memory.ask
        if way is None or agent.name in self._under_way or not agent.world.pid:
            return
        self._under_way.add(agent.name)
        self._tasks.spawn(self._ask(agent, way, wanted_bytes))

    async def _ask(self, agent: Agent, way: AskMemory, wanted_bytes: int) -> None:
        instance = agent.world.epoch
        try:
            why = await self._by(agent, way, wanted_bytes)
        finally:
            self._under_way.discard(agent.name)
        said = f"was asked for {size(wanted_bytes)} of memory, since it grows scarce"
        body = {"wanted_bytes": wanted_bytes, "instance": instance, "failed": why}
        self._recorder.record("density.asked", agent.name, f"{said}: {why}" if why else said, body)

    async def _by(self, agent: Agent, way: AskMemory, wanted_bytes: int) -> str:
        """Why it could not be asked; "" when it was."""
        if way.signal:
            return send(agent.world.pid, agent.world.starttime, signal.Signals[way.signal])
        if way.command:
            env = {ENV: str(wanted_bytes)}
            return failed(await self.run(agent, way.command, env, limits.ASK_MEMORY_S))
        try:
            async with asyncio.timeout(limits.ASK_MEMORY_S):
                return await post(way.url, {"bytes": wanted_bytes})
        except TimeoutError:
            return f"no answer within {limits.ASK_MEMORY_S:g} s"
        except (OSError, ValueError) as error:
            return f"it could not be reached: {getattr(error, 'strerror', None) or error}"


def send(pid: int, starttime: int, number: signal.Signals) -> str:
    """Send a signal to who handles it. Why it was not sent; "" when it was."""
    if processes.starttime(pid) != starttime:
        return "it is gone"
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        if number is signal.SIGUSR1 and stacks.is_node(os.readlink(f"/proc/{pid}/exe")):
            return "it is Node, which would open its debugger on SIGUSR1"
    except OSError as error:
        return f"its status cannot be read: {error.strerror}"
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    if not int(caught, 16) & (1 << (number - 1)):
        return f"it does not handle {number.name}, which would end it"
    try:
        os.kill(pid, number)
    except OSError as error:
        return f"{number.name} could not be sent: {error.strerror}"
    return ""


def failed(ran: Ran) -> str:
    """Why a command did not do it; "" when it did. Pure."""
    if ran.broken or ran.skipped:
        return ran.broken or ran.skipped
    if ran.timed_out:
        return f"the command did not end within {limits.ASK_MEMORY_S:g} s"
    if ran.signal:
        return f"the command was ended by {ran.signal}"
    return "" if ran.code == 0 else f"the command ended with code {ran.code}"


async def post(url: str, body: dict[str, int]) -> str:
    """Why it was refused; "" when it was not. Raises OSError, ValueError."""
    parts = urlsplit(url)
    host, data = parts.hostname or "", json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(host, parts.port or 80, limit=_ANSWER_MAX_BYTES)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode("ascii") + data)
        await writer.drain()
        words = (await reader.readline()).split()
    finally:
        writer.close()
    code = words[1].decode("ascii", "replace") if len(words) > 1 else ""
    return "" if code.startswith("2") and len(code) == 3 else f"it answered {code or 'nothing that is HTTP'}"
