"""/v1/status: what `ps` shows."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from holdfast.api.operation import Operation, answer
from holdfast.keeper import views
from holdfast.keeper.keeper import Keeper


async def get(keeper: Keeper, request: Request) -> Response:
    return answer(keeper.status())


OPERATIONS = (Operation("GET", "/v1/status", get, "All agents, Holdfast's own processes, and warnings.", views.Status),)
