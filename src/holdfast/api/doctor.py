"""/v1/doctor: what this machine and this home can hold."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast.api.operation import Operation, answer
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.telling import notices, views


class Checks(Struct, kw_only=True):
    checks: list[views.Check]


async def get(keeper: Keeper, request: Request) -> Response:
    return answer(Checks(checks=notices.checks(keeper)))


OPERATIONS = (Operation("GET", "/v1/doctor", get, "Everything doctor looked at.", Checks),)
