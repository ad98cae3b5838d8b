"""Looks into a hung agent before it is killed, by a process of its own that is given EVIDENCE_BOUND_S in all.

Invariants: the control loop never waits for /proc or a tool; an instance is looked into once, however often its act is
repeated; the kill is never held up beyond the bound, also when a thousand agents hang at once (then most are killed
without a look, which is said); whom a tool had stopped when the look was cut short goes on. Called by hands.py before
it tells init, and by density of who is paused; what was seen goes to the casebook.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence

import msgspec

from holdfast import limits, recipes
from holdfast.evidence import stacks
from holdfast.evidence.collect import tree_of
from holdfast.evidence.model import Bundle, Order
from holdfast.keeper.agent import Agent
from holdfast.node import processes
from holdfast.spec.model import AgentSpec

Seen = Callable[[Agent, Bundle | None, str], None]
"""The agent, what was seen, and why nothing was."""

TOO_MANY = "too many agents hung at the same time to look into each"
NOTHING = "it could not be looked into in time"
_TOOLS_GONE_S = 10.0  # a killed tool is gone within milliseconds, unless the kernel holds it
_COMMAND = ("-P", "-m", "holdfast.evidence")


class Collecting:
    """`look` is awaited before the order to init; `wanted` says whether that is of use."""

    def __init__(self, cgroups_of: Callable[[Agent], tuple[str, ...]], seen: Seen, command: Sequence[str] = ()) -> None:
        self._cgroups_of = cgroups_of
        self._seen = seen
        self._command = tuple(command) or (sys.executable, *_COMMAND)
        self._slots = asyncio.Semaphore(limits.EVIDENCE_AT_ONCE)
        self._looked: dict[str, int] = {}  # instance by agent
        self._under_way: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def wanted(self, agent: Agent, instance: int) -> bool:
        """Whether there is something to look into that was not, or is being, looked into."""
        if agent.incident is None or not agent.world.pid or agent.world.epoch != instance or not agent.ladder.running:
            return False
        return self._looked.get(agent.name) != instance or (agent.name, instance) in self._under_way

    async def look(
        self, agent: Agent, instance: int, within_s: float = limits.EVIDENCE_BOUND_S, *, paused: bool = False
    ) -> None:
        """Returns when the look is done or the bound is over. Never raises; awaited twice it looks once.

        `paused`: it stands still by our doing, so nothing attaches to it.
        """
        key = (agent.name, instance)
        task = self._under_way.get(key)
        if task is None:
            self._looked[agent.name] = instance
            task = asyncio.get_running_loop().create_task(self._look(agent, within_s, paused))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
        await asyncio.wait({task})

    def forget(self, name: str) -> None:
        """The agent is gone."""
        self._looked.pop(name, None)

    async def _look(self, agent: Agent, within_s: float, paused: bool) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        order = msgspec.structs.replace(self._order(agent, until), paused=paused)
        lines: list[bytes] = []
        why = TOO_MANY
        try:
            async with asyncio.timeout_at(until), self._slots:
                left_s = until - loop.time()
                if left_s >= limits.EVIDENCE_LEAST_S:
                    why = NOTHING
                    quick = left_s < limits.EVIDENCE_QUICK_BELOW_S
                    await self._collect(msgspec.structs.replace(order, quick=quick), lines)
        except (OSError, TimeoutError):
            pass  # what was handed over until then is what there is
        bundle = newest(lines)
        self._seen(agent, bundle, "" if bundle is not None else why)

    async def _collect(self, order: Order, lines: list[bytes]) -> None:
        """Run the collector, keep what it hands over; it and its tools are gone when this returns. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            limit=2 * limits.BUNDLE_MAX_BYTES,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(order))
            process.stdin.close()
            while line := await process.stdout.readline():
                lines[:] = [*lines[-1:], line]
        except ValueError:
            pass  # a line beyond the bound: what came before it stays
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            # Not waited for here: one that the kernel holds dies when it is let go, and the agent must not wait for it.
            left = asyncio.get_running_loop().create_task(self._leave(process, order, newest(lines)))
            self._leaving.add(left)
            left.add_done_callback(self._leaving.discard)

    async def _leave(self, process: asyncio.subprocess.Process, order: Order, seen: Bundle | None) -> None:
        """Once it and its tools are gone, nobody stays stopped because one of them was attached when it was killed."""
        await process.wait()
        if order.paused or order.quick or (seen is not None and seen.complete):
            return
        until = asyncio.get_running_loop().time() + _TOOLS_GONE_S
        while _lives(process.pid) and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.01)
        stood = {one.pid for one in seen.processes if one.state == "T"} if seen is not None else set()
        for pid in await asyncio.to_thread(tree_of, order):
            if pid not in stood and (pid != order.pid or processes.starttime(pid) == order.starttime):
                stacks.go_on(pid)

    def _order(self, agent: Agent, until_mono: float) -> Order:
        world, spec = agent.world, agent.spec
        return Order(
            agent=agent.name,
            instance=world.epoch,
            pid=world.pid,
            starttime=world.starttime,
            until_mono=until_mono,
            cgroups=tuple(map(str, self._cgroups_of(agent))),
            secrets=secret_values(agent.spec),
            inspector_port=recipes.find(spec.recipe).inspector_port(spec),
        )


def _lives(group: int) -> bool:
    """Whether a process group has anybody in it."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def newest(lines: Sequence[bytes]) -> Bundle | None:
    """The last whole line that can be read."""
    for line in reversed(lines):
        try:
            return msgspec.json.decode(line, type=Bundle)
        except msgspec.DecodeError:
            continue
    return None


def secret_values(spec: AgentSpec) -> tuple[str, ...]:
    """What must not appear anywhere."""
    return tuple(value for name in spec.secret_env if (value := spec.env.get(name)))
