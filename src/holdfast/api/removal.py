"""/v1/agents/NAME (DELETE), /v1/agents/NAME/undelete, /v1/deleted: out of the fleet, and back within a month.

Invariant: a removal that has begun goes on when the connection ends. What is kept, and where, is the keeper's business
(keeper/state/removing.py); nobody's files are deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast.api import jobs
from holdfast.api.jobs import Asked, Message
from holdfast.api.operation import Operation, answer, read_json
from holdfast.keeper.keeper import Keeper
from holdfast.state import answers


class UndeleteOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`start` false: bring the agent back stopped."""

    start: bool = True


async def remove(keeper: Keeper, request: Request) -> Response:
    name = request.path_params["name"]
    keeper.phase(name)  # raises AGENT_NOT_FOUND
    messages = jobs.kept_up(keeper, _removed(keeper, name))
    return await jobs.lines(Asked(name, "the removal", str(keeper.home.path)), messages)


async def _removed(keeper: Keeper, name: str) -> AsyncIterator[Message]:
    source = keeper.fleet.source
    async for message in keeper.removing.remove(name):
        yield {"result": {**message["result"], "source": source}} if "result" in message else message


async def undelete(keeper: Keeper, request: Request) -> Response:
    name = request.path_params["name"]
    options = await read_json(request, UndeleteOptions)
    messages = jobs.kept_up(keeper, _brought_back(keeper, name, options.start))
    return await jobs.lines(Asked(name, "bringing it back", str(keeper.home.path)), messages)


async def _brought_back(keeper: Keeper, name: str, start: bool) -> AsyncIterator[Message]:
    """An agent whose files are gone is not let loose on empty directories: they come back before it is started.

    Where only some are gone it stays down: what is left of the others is not replaced without being asked.
    """
    async for message in keeper.removing.undelete(name):
        if "result" not in message:
            yield message
            continue
        found = message["result"]
        if found.get("was_there"):
            yield {"result": {**found, "phase": str(keeper.phase(name))}}
            continue
        lost = found["missing"] and found["newest"]
        if not start or lost:
            keeper.set_wanted(name, up=False)  # in the same turn of the loop, before it is started
        if lost and len(found["missing"]) == len(keeper.agent(name).spec.state.paths):
            async for step in keeper.restoring.restore(name, found["newest"]):
                if "result" in step:
                    found |= {"missing": (), "restored": step["result"]["snapshot"], "at": step["result"]["at"]}
                else:
                    yield step
            if start:
                keeper.set_wanted(name, up=True)
        yield {"result": {**found, "phase": str(keeper.phase(name))}}


async def deleted(keeper: Keeper, request: Request) -> Response:
    return answer(answers.DeletedAgents(agents=keeper.removing.listed()))


OPERATIONS = (
    Operation(
        "DELETE",
        "/v1/agents/{name}",
        remove,
        "Remove an agent: progress as JSON lines, the result last. Its files stay, its snapshots for a month.",
        answers.RemovedAgent,
        media=jobs.MEDIA,
    ),
    Operation(
        "POST",
        "/v1/agents/{name}/undelete",
        undelete,
        "Bring a removed agent back into the fleet, with its snapshots: progress as JSON lines, the result last.",
        answers.BroughtBack,
        UndeleteOptions,
        media=jobs.MEDIA,
    ),
    Operation(
        "GET", "/v1/deleted", deleted, "Agents that were removed and can be brought back.", answers.DeletedAgents
    ),
)
