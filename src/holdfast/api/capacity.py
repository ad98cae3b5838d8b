"""/v1/capacity: how many more of which agents fit on this node, and what limits that."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from holdfast import errors
from holdfast.api.operation import Operation, Parameter, answer
from holdfast.errors import HoldfastError
from holdfast.keeper.density import room_asked, room_left
from holdfast.keeper.density.room_left import Capacity
from holdfast.keeper.keeper import Keeper

LOOKED_S = 0.02  # the look follows within some milliseconds; without it the answer is that of the last one
WANTED = Parameter("for", "string", "Only this agent's kind, or this recipe.")


async def get(keeper: Keeper, request: Request) -> Response:
    wanted = request.query_params.get(WANTED.name, "")
    keeper.semaphore.look()  # where nobody runs, nobody looked lately
    await asyncio.sleep(LOOKED_S)
    node, agents = room_asked.node_known(keeper), room_asked.known(keeper)
    found = await asyncio.to_thread(room_left.look, node, agents, wanted)
    if found is None:
        raise HoldfastError(errors.AGENT_NOT_FOUND, agent=wanted)
    return answer(found)


OPERATIONS = (
    Operation("GET", "/v1/capacity", get, "How many more agents fit, and what limits that.", Capacity, query=(WANTED,)),
)
