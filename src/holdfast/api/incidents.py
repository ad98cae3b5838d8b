"""/v1/incidents: what went wrong and how it ended."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast.api.operation import Operation, answer
from holdfast.keeper.keeper import Keeper


class Incidents(Struct, kw_only=True):
    incidents: list[dict[str, Any]]


async def list_all(keeper: Keeper, request: Request) -> Response:
    return answer({"incidents": keeper.incident_rows()})


async def show(keeper: Keeper, request: Request) -> Response:
    return answer(keeper.incident_detail(request.path_params["id"]))


OPERATIONS = (
    Operation("GET", "/v1/incidents", list_all, "The newest incidents, oldest first.", Incidents),
    Operation("GET", "/v1/incidents/{id}", show, "One incident with its timeline and log lines.", dict[str, Any]),
)
