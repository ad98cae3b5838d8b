"""/v1/agents/NAME/usage and /v1/node: what an agent uses, with the curve of its memory, and how the machine is."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast.api.operation import Operation, answer
from holdfast.keeper.density import shown
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.telling.views import NodeView, UsageView


class Usage(Struct, kw_only=True):
    """`usage` is null while it does not run. `curve`: [wall clock, bytes], a day at most, oldest first."""

    agent: str
    usage: UsageView | None
    curve: list[tuple[float, int]]


async def of_agent(keeper: Keeper, request: Request) -> Response:
    name = keeper.agent(request.path_params["name"]).name
    keeper.resources.freshen(keeper.clock.now_mono())
    return answer(Usage(agent=name, usage=keeper.resources.usage(name), curve=keeper.resources.curve(name)))


async def of_node(keeper: Keeper, request: Request) -> Response:
    return answer(shown.Look(keeper).node(keeper.node.view()))


OPERATIONS = (
    Operation("GET", "/v1/agents/{name}/usage", of_agent, "What an agent uses now, and its memory over a day.", Usage),
    Operation("GET", "/v1/node", of_node, "The machine: pressure, network, disks, incident.", NodeView),
)
