"""/v1/agents/NAME (DELETE), /v1/agents/NAME/undelete, /v1/deleted: out of the fleet, and back within a month.

Invariant: a removal that has begun goes on when the connection ends. What is kept, and where, is the keeper's business
(keeper/removing.py); nobody's files are deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

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


class Remover(Protocol):
    """The keeper's Removing."""

    def remove(self, name: str) -> AsyncIterator[Message]:
        """A last snapshot, the agent's stop, its leaving; the result is answers.RemovedAgent."""

    async def undelete(self, name: str, *, start: bool) -> answers.BroughtBack:
        """Raises HoldfastError NOT_DELETED."""

    def deleted(self) -> list[answers.Deleted]:
        """The one removed last at the end."""


def _remover(keeper: Keeper) -> Remover:
    found: Remover = getattr(keeper, "removing")  # noqa: B009
    return found


async def remove(keeper: Keeper, request: Request) -> Response:
    name = request.path_params["name"]
    keeper.phase(name)  # raises AGENT_NOT_FOUND
    messages = jobs.kept_up(keeper, _remover(keeper).remove(name))
    return await jobs.lines(Asked(name, "the removal", str(keeper.home.path)), messages)


async def undelete(keeper: Keeper, request: Request) -> Response:
    options = await read_json(request, UndeleteOptions)
    return answer(await _remover(keeper).undelete(request.path_params["name"], start=options.start))


async def deleted(keeper: Keeper, request: Request) -> Response:
    return answer(answers.DeletedAgents(agents=_remover(keeper).deleted()))


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
        "Bring a removed agent back into the fleet, with its snapshots.",
        answers.BroughtBack,
        UndeleteOptions,
    ),
    Operation(
        "GET", "/v1/deleted", deleted, "Agents that were removed and can be brought back.", answers.DeletedAgents
    ),
)
