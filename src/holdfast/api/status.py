"""/v1/status: what `ps` shows."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from holdfast.api.operation import Operation, Parameter, answer, refused
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.telling import looking, views
from holdfast.spec.selector import Selector, parse

SELECTOR = Parameter("selector", "string", "Only agents with these labels, such as team=x or tier in (web, api).")


def selector(request: Request) -> Selector | None:
    """The query's selector. Raises HoldfastError API_REFUSED."""
    text = request.query_params.get(SELECTOR.name)
    if not text:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise refused(f"query parameter {SELECTOR.name}: {error}") from error


async def get(keeper: Keeper, request: Request) -> Response:
    wanted = selector(request)
    status = looking.status(keeper)
    if wanted is not None:
        status.agents = [row for row in status.agents if wanted.matches(row.labels)]
    return answer(status)


OPERATIONS = (
    Operation(
        "GET",
        "/v1/status",
        get,
        "All agents, Holdfast's own processes, and warnings.",
        views.Status,
        query=(SELECTOR,),
    ),
)
