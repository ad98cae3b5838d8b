"""/v1/alerts/test: prove that a person would be told."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast.alerts.hook import Outcome
from holdfast.api.operation import Operation, answer, read_body
from holdfast.keeper.keeper import Keeper


class Sent(Struct, kw_only=True):
    sent: list[Outcome]


async def test(keeper: Keeper, request: Request) -> Response:
    await read_body(request)
    return answer(Sent(sent=await keeper.test_alerts()))


OPERATIONS = (Operation("POST", "/v1/alerts/test", test, "Send a test alert through every channel.", Sent),)
