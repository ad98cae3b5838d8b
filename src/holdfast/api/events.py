"""/v1/events: the ledger's records, one JSON object a line; with follow=1 as they are written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from holdfast import limits
from holdfast.api.operation import Operation, Parameter, integer, number
from holdfast.api.status import SELECTOR, selector
from holdfast.api.stream import StreamedResponse
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.telling import views
from holdfast.spec.selector import Selector

_UNREADABLE_PAUSE_S = 0.5
_BATCH = 256  # records between two turns of the loop: reading a long ledger must not hold up healing


class Wanted(NamedTuple):
    """Which records are asked for. All of it must hold; nothing given: all records."""

    agent: str | None = None
    kinds: tuple[str, ...] = ()  # exact, or the part before a dot
    since_at: float | None = None
    selector: Selector | None = None

    def takes(self, event: views.Event, labels: Callable[[str], dict[str, str] | None]) -> bool:
        """`labels`: those of an agent, None when there is none of that name (any more)."""
        if self.agent is not None and event.agent != self.agent:
            return False
        if self.since_at is not None and event.at < self.since_at:
            return False
        if self.kinds and not any(event.kind == kind or event.kind.startswith(f"{kind}.") for kind in self.kinds):
            return False
        if self.selector is None:
            return True
        found = labels(event.agent)
        return found is not None and self.selector.matches(found)


async def get(keeper: Keeper, request: Request) -> Response:
    after = integer(request, "after", 0)
    follow = bool(integer(request, "follow", 0))
    last = integer(request, "last", -1)
    since_s = number(request, "since")
    wanted = Wanted(
        agent=request.query_params.get("agent") or None,
        kinds=tuple(filter(None, request.query_params.get("kind", "").split(","))),
        since_at=None if since_s is None else keeper.clock.now_at() - since_s,
        selector=selector(request),
    )
    keep = None if last < 0 else min(last, limits.EVENTS_LAST_MAX)
    return StreamedResponse(_lines(keeper, after, follow, wanted, keep), "application/x-ndjson")


async def _lines(keeper: Keeper, after: int, follow: bool, wanted: Wanted, last: int | None) -> AsyncIterator[bytes]:
    seen, expected = after, False
    while True:
        batch: deque[bytes] = deque(maxlen=last)
        before, looked = seen, 0
        for event in keeper.recorder.events(seen):
            seen, looked = event.seq, looked + 1
            if wanted.takes(event, lambda name: _labels(keeper, name)):
                batch.append(msgspec.json.encode(event))
            if looked % _BATCH == 0:
                if last is None and batch:
                    yield b"\n".join(batch) + b"\n"
                    batch.clear()
                await asyncio.sleep(0)
        if batch:
            yield b"\n".join(batch) + b"\n"
        last = None  # only the first look is bounded: what is written later is all wanted
        if not follow:
            return
        if expected and seen == before:
            await asyncio.sleep(_UNREADABLE_PAUSE_S)  # it is said to be there and cannot be read: a failing disk
        expected = await keeper.recorder.wait_after(seen, limits.STREAM_SIGN_OF_LIFE_S)
        if not expected:
            yield b"\n"  # a sign of life; a client that is gone is found out


def _labels(keeper: Keeper, name: str) -> dict[str, str] | None:
    agent = keeper.agents.get(name)
    return None if agent is None else agent.spec.labels


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
            Parameter("kind", "string", "Only records of these kinds, such as ladder or agent.stop,ladder.exited."),
            Parameter("since", "number", "Only records of the last so many seconds."),
            Parameter("last", "integer", "Of the records there are, only so many from the end."),
            SELECTOR,
        ),
        media="application/x-ndjson",
    ),
)
