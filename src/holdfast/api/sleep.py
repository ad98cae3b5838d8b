"""/v1/agents/NAME/sleep and /wake: put an agent to sleep that has nothing to do, and wake it."""

from __future__ import annotations

import asyncio
from typing import Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast import errors, limits
from holdfast.api.agents import ActOptions
from holdfast.api.operation import Operation, answer, read_json
from holdfast.errors import HoldfastError
from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.keeper import Keeper

POLL_S = 0.05


class Slept(Struct, frozen=True, kw_only=True):
    """`asleep`: "frozen" or "stopped"; "" when it is awake. `wake_s`: how long its last wake-up took."""

    agent: str
    phase: Phase
    asleep: Literal["", "frozen", "stopped"] = ""
    wake_s: float | None = None


async def _sleep(keeper: Keeper, request: Request) -> Response:
    agent = keeper.agent(request.path_params["name"])
    options = await read_json(request, ActOptions)
    if not keeper.sleepers.sleep_now(agent, "a person asked", by_hand=True):
        reason = keeper.sleepers.why_not(agent) or "its processes cannot be frozen here"
        raise HoldfastError(errors.SLEEP_REFUSED, agent=agent.name, reason=reason)
    if options.wait:
        await _until(agent, {Phase.HIBERNATING} if agent.rest_view.asleep == "stopped" else {agent.ladder.phase})
    return _answer(agent)


async def _wake(keeper: Keeper, request: Request) -> Response:
    agent = keeper.agent(request.path_params["name"])
    options = await read_json(request, ActOptions)
    if keeper.sleepers.wake(agent, "a person asked") and options.wait:
        await _until(agent, {Phase.HEALTHY, Phase.DEGRADED, Phase.ESCALATED, Phase.STOPPED})
    return _answer(agent)


async def _until(agent: Agent, phases: set[Phase]) -> None:
    """Until it is in one of `phases`, or API_WAIT_MAX_S is over."""
    deadline = asyncio.get_running_loop().time() + limits.API_WAIT_MAX_S
    while agent.ladder.phase not in phases and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL_S)


def _answer(agent: Agent) -> Response:
    rest = agent.rest_view
    return answer(Slept(agent=agent.name, phase=agent.ladder.phase, asleep=rest.asleep, wake_s=rest.wake_s))


OPERATIONS = (
    Operation(
        "POST",
        "/v1/agents/{name}/sleep",
        _sleep,
        "Put an agent to sleep in the way its `idle` says, frozen where it says nothing. It wakes like any sleeper.",
        Slept,
        ActOptions,
    ),
    Operation(
        "POST", "/v1/agents/{name}/wake", _wake, "Wake an agent that sleeps; nothing for others.", Slept, ActOptions
    ),
)
