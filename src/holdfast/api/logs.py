"""/v1/agents/NAME/logs: what the agent printed, as plain text; with follow=1 as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response

from holdfast import errors, limits
from holdfast.api.operation import Operation, Parameter, integer, number
from holdfast.api.stream import StreamedResponse
from holdfast.errors import HoldfastError
from holdfast.keeper.keeper import Keeper
from holdfast.logs.read import POLL_S, Follower


async def get(keeper: Keeper, request: Request) -> Response:
    name = request.path_params["name"]
    keeper.phase(name)  # a name nobody has is an error and not an empty log
    follow = bool(integer(request, "follow", 0))
    lines = integer(request, "lines", -1)
    last = None if lines < 0 else min(lines, limits.LOG_LINES_MAX)
    try:
        # In a thread: an agent that prints no newline makes this read all that it ever printed.
        follower = await asyncio.to_thread(Follower, keeper.home, name, since_s=number(request, "since"), last=last)
    except OSError as error:
        reason = f"the logs of {name} cannot be read: {error.strerror}"
        raise HoldfastError(errors.KEEPER_FAILED, reason=reason, home=keeper.home.path) from error
    return StreamedResponse(_pieces(follower, follow), "text/plain; charset=utf-8")


async def _pieces(follower: Follower, follow: bool) -> AsyncIterator[bytes]:
    try:
        while True:
            found = follower.poll()
            if found:
                yield b"\n".join(found) + b"\n"
            if follower.more:
                await asyncio.sleep(0)
            elif follow:
                await asyncio.sleep(POLL_S)
            else:
                break
        rest = follower.rest()
        if rest is not None:
            yield rest + b"\n"
    finally:
        follower.close()


OPERATIONS = (
    Operation(
        "GET",
        "/v1/agents/{name}/logs",
        get,
        "What the agent printed.",
        str,
        query=(
            Parameter("since", "number", "Only what was printed in the last so many seconds."),
            Parameter("lines", "integer", "Only so many lines from the end."),
            Parameter("follow", "integer", "1: go on as lines come."),
        ),
        media="text/plain",
    ),
)
