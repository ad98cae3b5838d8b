"""/v1/agents/NAME/snapshots: take one, list, delete and undelete, pin."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast import errors, limits
from holdfast.api import jobs
from holdfast.api.jobs import Asked
from holdfast.api.operation import Operation, Parameter, answer, integer, read_json, refused
from holdfast.errors import HoldfastError
from holdfast.keeper.keeper import Keeper
from holdfast.state import answers
from holdfast.state.answers import SnapshotRow
from holdfast.state.looking import choose
from holdfast.state.model import Cause


class TakeOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`label`: a person's own word for it. Without one, a state that did not change makes no new snapshot."""

    label: str = ""


class PinOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`why`: a person's own word. `pinned` false takes that pin off."""

    why: str = "kept"
    pinned: bool = True


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No options."""


async def rows(keeper: Keeper, agent: str, *, deleted: bool = False) -> list[SnapshotRow]:
    """All snapshots of an agent, oldest first; of a removed one those that went with it. Raises HoldfastError."""
    found = await _listed(keeper, agent, deleted or agent not in keeper.agents)
    return msgspec.convert(found.get("snapshots", []), list[SnapshotRow])


async def _listed(keeper: Keeper, agent: str, deleted: bool) -> dict[str, Any]:
    messages = jobs.of(keeper).job("snapshots", agent, all=deleted)
    found = await jobs.result(Asked(agent, "listing the snapshots", str(keeper.home.path)), messages)
    return found if isinstance(found, dict) else {}


async def chosen(keeper: Keeper, agent: str, text: str) -> choose.Choice:
    """The snapshot that `text` means, of an agent of the fleet or one that was removed. Raises HoldfastError."""
    try:
        wished = choose.wish(text, time.time(), prefer_id=True)
    except ValueError as error:
        raise refused(f"snapshot: {error}") from error
    return choose.choose(agent, await rows(keeper, agent), wished)


def there(keeper: Keeper, agent: str) -> None:
    """Raises HoldfastError for an agent that was removed: it has no files of its own to look at."""
    if agent not in keeper.agents and keeper.removing.find(agent) is not None:
        look = f"look at its files with `holdfast restore {agent} --to NEW_DIRECTORY`"
        raise refused(f"{agent} was removed: bring it back with `holdfast undelete {agent}`, or {look}")


async def post(keeper: Keeper, request: Request) -> Response:
    agent = request.path_params["name"]
    options = await read_json(request, TakeOptions)
    there(keeper, agent)
    if len(options.label) > limits.SNAPSHOT_LABEL_MAX or not options.label.isprintable():
        raise refused(f"a label has at most {limits.SNAPSHOT_LABEL_MAX} printable characters")
    if not keeper.agent(agent).spec.state.paths:
        raise HoldfastError(errors.STATE_NOT_DECLARED, agent=agent)
    messages = jobs.of(keeper).job("snapshot", agent, cause=str(Cause.MANUAL), label=options.label)
    return await jobs.lines(Asked(agent, "the snapshot", str(keeper.home.path)), messages)


async def list_all(keeper: Keeper, request: Request) -> Response:
    agent = request.path_params["name"]
    deleted = bool(integer(request, "all", 0)) or agent not in keeper.agents
    return answer(await _listed(keeper, agent, deleted))


async def delete(keeper: Keeper, request: Request) -> Response:
    return await _one(keeper, request, "delete-snapshot", "deleting a snapshot", deleted=False)


async def undelete(keeper: Keeper, request: Request) -> Response:
    await read_json(request, Nothing)
    return await _one(keeper, request, "undelete-snapshot", "bringing a snapshot back", deleted=True)


async def pin(keeper: Keeper, request: Request) -> Response:
    options = await read_json(request, PinOptions)
    if not 0 < len(options.why) <= limits.SNAPSHOT_PIN_MAX or not options.why.replace("-", "").isalnum():
        raise refused(f"a pin's word has at most {limits.SNAPSHOT_PIN_MAX} letters, digits and hyphens")
    return await _one(keeper, request, "pin", "pinning", deleted=False, why=options.why, pinned=options.pinned)


async def _one(keeper: Keeper, request: Request, job: str, what: str, *, deleted: bool, **args: Any) -> Response:
    """A job about the one snapshot that the path names, by its id's first digits."""
    agent, prefix = request.path_params["name"], request.path_params["id"]
    known = await rows(keeper, agent, deleted=deleted)
    if deleted:
        known = [row for row in known if row.deleted_until is not None]
        if not any(row.id.startswith(prefix) for row in known):
            raise HoldfastError(errors.NOT_DELETED, what=f"snapshot {prefix} of {agent}")
    found = choose.by_id(agent, known, prefix)
    asked = Asked(agent, what, str(keeper.home.path), snapshot=prefix)
    return answer(await jobs.result(asked, jobs.of(keeper).job(job, agent, snapshot=found.id, **args)))


_ONE = "/v1/agents/{name}/snapshots/{id}"
OPERATIONS = (
    Operation(
        "POST",
        "/v1/agents/{name}/snapshots",
        post,
        "Take a snapshot now: progress as JSON lines, the result last.",
        answers.Taken,
        TakeOptions,
        media=jobs.MEDIA,
    ),
    Operation(
        "GET",
        "/v1/agents/{name}/snapshots",
        list_all,
        "The agent's snapshots, oldest first.",
        answers.Snapshots,
        query=(Parameter("all", "integer", "1: also those that were deleted and can be had back."),),
    ),
    Operation("DELETE", _ONE, delete, "Delete a snapshot: it goes to the trash and can be had back.", answers.Removed),
    Operation("POST", _ONE + "/undelete", undelete, "Bring a deleted snapshot back.", answers.Removed, Nothing),
    Operation("POST", _ONE + "/pin", pin, "Keep a snapshot from retention, or no longer.", answers.Pinned, PinOptions),
)
