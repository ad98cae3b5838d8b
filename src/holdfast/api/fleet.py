"""/v1/fleet: the desired fleet, resolved."""

from __future__ import annotations

from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from holdfast.api.operation import Operation, Parameter, answer, integer, read_json
from holdfast.keeper import fleet as fleets
from holdfast.keeper.acting import applying
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.telling import views
from holdfast.spec.model import FleetSpec


async def get(keeper: Keeper, request: Request) -> Response:
    return answer(fleets.masked(keeper.fleet))


async def put(keeper: Keeper, request: Request) -> Response:
    fleet = await read_json(request, FleetSpec)
    merge = bool(integer(request, "merge", 0))
    if integer(request, "dry_run", 0):
        return answer(applying.plan(keeper, fleet, merge=merge))
    return answer(applying.put(keeper, fleet, merge=merge))


async def take_out(keeper: Keeper, request: Request) -> Response:
    name = request.path_params["name"]
    keeper.phase(name)  # raises AGENT_NOT_FOUND
    left = tuple(spec for spec in keeper.fleet.agents if spec.name != name)
    return answer(applying.put(keeper, structs.replace(keeper.fleet, agents=left), merge=False))


OPERATIONS = (
    Operation(
        "DELETE",
        "/v1/fleet/{name}",
        take_out,
        "Take one agent out of the fleet: it is stopped gracefully and keeps its state.",
        views.FleetChange,
    ),
    Operation("GET", "/v1/fleet", get, "The desired fleet; values of secrets are masked.", FleetSpec),
    Operation(
        "PUT",
        "/v1/fleet",
        put,
        "Replace the desired fleet. Agents whose process would differ are restarted gracefully.",
        views.FleetChange,
        FleetSpec,
        (
            Parameter("merge", "integer", "1: add or replace only the agents given."),
            Parameter("dry_run", "integer", "1: change nothing, and answer what would change, with every key."),
        ),
    ),
)
