"""Brings an agent to rest for the moment of a planned snapshot, where its recipe knows how, and lets it go.

Invariants: whatever becomes of the snapshot the agent is let go, at the latest after limits.REST_MAX_S; when we are
killed meanwhile it goes on by itself, for what it was given is a lease. An agent that is at work is not waited for: its
snapshot is taken as it is, and says so. Called by snapshots.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

from msgspec import Struct

from holdfast import limits, recipes
from holdfast.health.command import Ran
from holdfast.health.model import Judgement
from holdfast.keeper.agent import Agent
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.watching.beats import idle
from holdfast.keeper.watching.commands import understood
from holdfast.recipes.model import FunctionProbe
from holdfast.state.model import Rest

Ask = Callable[[Agent, FunctionProbe], Awaitable[Ran]]


class Resting(Struct, frozen=True, kw_only=True):
    """How an agent was while its snapshot was taken. `until_mono`: when that ceases to be known; None: never."""

    rest: Rest
    until_mono: float | None = None
    why_not: str = ""  # why it could not be brought to rest, though its recipe knows how; one clause


AtRest = Callable[[Agent, bool], AbstractAsyncContextManager[Resting]]


class _Held(NamedTuple):
    """`certain`: that it rests; else its answer was lost, or it could not be asked."""

    end: FunctionProbe
    lease_s: float
    until_mono: float
    certain: bool


class Rester:
    """`ask` runs a recipe's program beside the agent, with its rights, also on a machine that is starved."""

    def __init__(self, ask: Ask, recorder: Recorder, tasks: Tasks) -> None:
        self._ask = ask
        self._recorder = recorder
        self._tasks = tasks

    @contextlib.asynccontextmanager
    async def at_rest(self, agent: Agent, wanted: bool) -> AsyncGenerator[Resting, None]:
        """`wanted`: bring it to rest, if that can be done; else only what is known of it."""
        known = told(agent)
        ways = recipes.find(agent.spec.recipe).quiesce(agent.spec) if wanted and agent.ladder.gate_passed else None
        if ways is None or known.rest is Rest.STOPPED or agent.is_frozen:
            yield known
            return
        until_mono = asyncio.get_running_loop().time() + limits.REST_MAX_S
        ran = await self._within(agent, ways.begin)
        answer = understood(ran)
        rests, busy = answer.said is Judgement.OK, answer.said is Judgement.DEGRADED
        release, done = asyncio.Event(), asyncio.Event()
        if busy or ran.skipped or ran.broken:
            done.set()  # it surely does not rest
        else:  # also when no answer came: it may rest all the same
            held = _Held(ways.end, ways.lease_s, until_mono, certain=rests or ran.timed_out)
            self._tasks.spawn(self._let_go(agent, held, release, done))
        try:
            if rests:
                yield Resting(rest=Rest.QUIESCED, until_mono=until_mono)
            else:
                why_not = ran.skipped or answer.line or "it cannot be asked"
                yield Resting(rest=Rest.BUSY if busy else known.rest, why_not=why_not)
        finally:
            release.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.REST_END_S):
                    await done.wait()

    async def _within(self, agent: Agent, probe: FunctionProbe) -> Ran:
        try:
            async with asyncio.timeout(limits.REST_ASK_S + 2 * limits.PROBER_SLACK_S):
                return await self._ask(agent, probe)
        except TimeoutError:
            return Ran(timed_out=True)

    async def _let_go(self, agent: Agent, held: _Held, release: asyncio.Event, done: asyncio.Event) -> None:
        """When the snapshot is made, or its time is over; again when that fails. The lease is behind it all."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, held.until_mono - asyncio.get_running_loop().time())):
                    await release.wait()
            answer = Ran()
            for _ in range(limits.REST_END_TRIES if held.certain else 1):
                answer = understood(await self._within(agent, held.end))
                if answer.said is Judgement.OK or not agent.ladder.running:
                    return
            if held.certain:
                why = answer.line or "no answer"
                text = f"it could not be let go after its snapshot; within {held.lease_s:.0f} s it goes on by itself"
                self._recorder.record("snapshot.rest", agent.name, f"{text}: {why}", {"why": why})
        finally:
            done.set()


def told(agent: Agent) -> Resting:
    """What the agent says of itself, at no cost."""
    if agent.world.pid <= 0:
        return Resting(rest=Rest.STOPPED)
    said = idle(agent)
    return Resting(rest=Rest.UNKNOWN if said is None else Rest.IDLE if said else Rest.BUSY)


@contextlib.asynccontextmanager
async def as_it_is(agent: Agent, wanted: bool) -> AsyncGenerator[Resting, None]:
    """Where nobody can bring it to rest."""
    yield told(agent)


def as_arguments(known: Resting) -> dict[str, Any]:
    """For the job that takes the snapshot."""
    return {"rest": str(known.rest), "rest_until_mono": known.until_mono}


def noted(message: dict[str, Any], known: Resting) -> dict[str, Any]:
    """A job's result, with the reason why the agent was not at rest, for somebody who asked for this snapshot."""
    if not known.why_not:
        return message
    result = message["result"]
    note = f"{result['note']}; " if result.get("note") else ""
    return {**message, "result": {**result, "note": f"{note}not at rest: {known.why_not}"}}
