"""/v1/events: the ledger's records, one JSON object a line; with follow=1 as they are written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from holdfast import limits
from holdfast.api.operation import Operation, Parameter, integer
from holdfast.api.stream import StreamedResponse
from holdfast.keeper import views
from holdfast.keeper.keeper import Keeper

_UNREADABLE_PAUSE_S = 0.5
_BATCH = 256  # records between two turns of the loop: reading a long ledger must not hold up healing


async def get(keeper: Keeper, request: Request) -> Response:
    after = integer(request, "after", 0)
    follow = bool(integer(request, "follow", 0))
    agent = request.query_params.get("agent")
    return StreamedResponse(_lines(keeper, after, follow, agent), "application/x-ndjson")


async def _lines(keeper: Keeper, after: int, follow: bool, agent: str | None) -> AsyncIterator[bytes]:
    seen, expected = after, False
    while True:
        batch: list[bytes] = []
        before = seen
        for event in keeper.events(seen):
            seen = event.seq
            if agent is None or event.agent == agent:
                batch.append(msgspec.json.encode(event))
            if len(batch) >= _BATCH:
                yield b"\n".join(batch) + b"\n"
                batch = []
                await asyncio.sleep(0)
        if batch:
            yield b"\n".join(batch) + b"\n"
        if not follow:
            return
        if expected and seen == before:
            await asyncio.sleep(_UNREADABLE_PAUSE_S)  # it is said to be there and cannot be read: a failing disk
        expected = await keeper.wait_for_event(seen, limits.STREAM_SIGN_OF_LIFE_S)
        if not expected:
            yield b"\n"  # a sign of life; a client that is gone is found out


OPERATIONS = (
    Operation(
        "GET",
        "/v1/events",
        get,
        "Records of the ledger as JSON lines; empty lines are signs of life.",
        views.Event,
        query=(
            Parameter("after", "integer", "Only records after this number."),
            Parameter("follow", "integer", "1: go on as records are written."),
            Parameter("agent", "string", "Only records of this agent."),
        ),
        media="application/x-ndjson",
    ),
)
