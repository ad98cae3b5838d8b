"""/v1/down: stop the fleet, then Holdfast itself. The socket goes away afterwards."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast.api.operation import Operation, answer, read_json
from holdfast.keeper.acting import leaving
from holdfast.keeper.keeper import Keeper


class Down(Struct, frozen=True):
    """`timeout_s`: how long the caller is willing to wait. Agents get their own grace whatever it is."""

    timeout_s: float | None = None


class Stopping(Struct, frozen=True):
    stopping: int


async def post(keeper: Keeper, request: Request) -> Response:
    await read_json(request, Down)
    return answer(Stopping(stopping=await leaving.down(keeper)))


OPERATIONS = (
    Operation("POST", "/v1/down", post, "Stop all agents gracefully, then Holdfast; wishes are kept.", Stopping, Down),
)
