"""/v1/agents/NAME/restore: what a restore would do, and doing it.

Invariant: which snapshot is meant is decided once, by the plan; what is done names it by its whole id. A restore that
has begun goes on to its end (or is undone by the keeper) also when nobody listens any more.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast import errors, limits
from holdfast.api import jobs
from holdfast.api.jobs import Asked
from holdfast.api.operation import Operation, Parameter, answer, integer, read_json, refused
from holdfast.api.snapshots import rows
from holdfast.errors import HoldfastError
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.state import state_paths
from holdfast.recipes.clone import definition
from holdfast.spec.model import AgentSpec
from holdfast.state import answers
from holdfast.state.answers import Differences, RestorePlan, SnapshotRow
from holdfast.state.looking import choose, history
from holdfast.state.model import Root

AGENT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class RestoreOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`snapshot`: an id's first digits, a time, newest or known-good. `path`: only that; `to`: write to this directory
    (absolute, new or empty) and do not touch the agent; `clone`: with `to`, also define a copy of this name there."""

    snapshot: str = choose.NEWEST
    path: str | None = None
    to: str | None = None
    clone: str | None = None


class Restorer(Protocol):
    """Who carries restores out: the keeper's Restoring."""

    def restore(self, agent: str, snapshot: str, *, path: str | None) -> AsyncIterator[jobs.Message]: ...


def _restorer(keeper: Keeper) -> Restorer:
    found: Restorer = getattr(keeper, "restoring")  # noqa: B009
    return found


async def plan(keeper: Keeper, request: Request) -> Response:
    agent = request.path_params["name"]
    known = await rows(keeper, agent)
    found = _chosen(keeper, agent, known, request.query_params.get("snapshot") or choose.NEWEST)
    good = [row for row in known if choose.KNOWN_GOOD in row.pins and not row.damaged]
    path = _absolute(keeper, agent, request.query_params.get("path") or None)
    if path is not None:
        await _must_be_there(keeper, agent, found, path)
    alive, spec = keeper.agents.get(agent), _spec(keeper, agent)
    return answer(
        RestorePlan(
            agent=agent,
            snapshot=next(row for row in known if row.id == found.id),
            off_s=found.off_s,
            clock_changed=found.clock_changed,
            empty=found.empty,
            damaged=found.damaged,
            phase="" if alive is None else str(alive.ladder.phase),
            good=max(good, key=lambda row: row.seq, default=None),
            newest=max(known, key=lambda row: row.seq),
            lost=await _lost(keeper, agent, found.id, path) if alive and integer(request, "compare", 1) else None,
            warnings=() if spec is None else await state_paths.stale(keeper.removing.errands, spec),
        )
    )


async def _must_be_there(keeper: Keeper, agent: str, found: choose.Choice, path: str) -> None:
    """Raises HoldfastError RESTORE_NOT_THERE. What else stands in the way of a look is told by the restore itself."""
    messages = jobs.of(keeper).job("restore-locate", agent, snapshot=found.id, path=path)
    try:
        async with asyncio.timeout(limits.RESTORE_PLAN_S):
            await jobs.result(Asked(agent, "the restore"), messages)
    except TimeoutError:
        return
    except HoldfastError as error:
        if error.kind is errors.RESTORE_NOT_THERE:
            raise


async def _lost(keeper: Keeper, agent: str, snapshot: str, path: str | None) -> Differences | None:
    """What a restore would replace; None when that cannot be told in time, which holds up no restore."""
    messages = jobs.of(keeper).job("diff", agent, a=snapshot, b=None, path=path)
    try:
        async with asyncio.timeout(limits.RESTORE_PLAN_S):
            found = await jobs.result(Asked(agent, "comparing"), messages)
    except (HoldfastError, TimeoutError):
        return None
    told = msgspec.convert(found, Differences)
    return msgspec.structs.replace(told, changes=told.changes[: limits.STATE_LOST_SHOWN])


def _chosen(keeper: Keeper, agent: str, known: Sequence[SnapshotRow], text: str) -> choose.Choice:
    """Raises HoldfastError API_REFUSED and those of `choose`."""
    try:
        wished = choose.wish(text, keeper.clock.now_at(), prefer_id=True)
    except ValueError as error:
        raise refused(f"snapshot: {error}") from error
    return choose.choose(agent, known, wished)


async def post(keeper: Keeper, request: Request) -> Response:
    agent = request.path_params["name"]
    options = await read_json(request, RestoreOptions)
    if options.to is not None and not _is_fit(options.to):
        raise refused(f"to: expected an absolute path, found {options.to[:80]!r}")
    if options.clone is not None:
        _check_clone(keeper, options)
    if options.path is not None and ("\0" in options.path or len(options.path) > limits.STATE_PATH_MAX):
        raise refused(f"path: expected a path of at most {limits.STATE_PATH_MAX} characters")
    found = _chosen(keeper, agent, await rows(keeper, agent), options.snapshot)
    path = _absolute(keeper, agent, options.path)
    asked = Asked(agent, "the restore", str(keeper.home.path), path=path or "", snapshot=found.id[:12])
    if options.to is not None:
        return await jobs.lines(asked, _beside(keeper, agent, found, path, options.to, options.clone))
    messages = _restorer(keeper).restore(agent, found.id, path=path)
    return await jobs.lines(asked, jobs.kept_up(keeper, messages))


async def _beside(
    keeper: Keeper, agent: str, found: choose.Choice, path: str | None, to: str, clone: str | None
) -> AsyncIterator[jobs.Message]:
    """Into a directory of its own: no agent is stopped, and what was begun is taken away when nobody waits for it."""
    row = next(one for one in await rows(keeper, agent) if one.id == found.id)
    began_mono = keeper.clock.now_mono()
    messages = jobs.of(keeper).job("restore-build", agent, snapshot=found.id, path=path, to=to)
    async for message in messages:
        if "result" not in message:
            yield message
            continue
        done = answers.Restored(
            agent=agent,
            snapshot=found.id,
            at=found.at,
            files=0 if path else row.files,
            bytes=0 if path else row.bytes,
            took_s=keeper.clock.now_mono() - began_mono,
            path=path or "",
            to=to,
            warnings=tuple(message["result"].get("notes", ())),
        )
        if clone is not None and (spec := _spec(keeper, agent)) is not None:
            where = message["result"].get("where", {})
            text = await asyncio.to_thread(lambda: definition(spec, clone, where, _free_port()))  # noqa: B023
            done = msgspec.structs.replace(done, definition=text)
        yield {"result": msgspec.to_builtins(done)}


def _free_port() -> int:
    """One that nobody listens on now, for a person to write into a file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _check_clone(keeper: Keeper, options: RestoreOptions) -> None:
    """Raises HoldfastError API_REFUSED."""
    name = options.clone or ""
    if options.to is None or options.path is not None:
        raise refused("clone: it needs `to`, the directory of the copy, and no `path`")
    if not AGENT_NAME.fullmatch(name):
        raise refused("clone: expected lower-case letters, digits and dashes, at most 63")
    if name in keeper.agents:
        raise refused(f"clone: there is an agent {name} already")


def _spec(keeper: Keeper, agent: str) -> AgentSpec | None:
    """Of an agent in the fleet, or of one that was removed."""
    alive, gone = keeper.agents.get(agent), keeper.removing.find(agent)
    return alive.spec if alive is not None else gone.spec if gone is not None else None


def _absolute(keeper: Keeper, agent: str, path: str | None) -> str | None:
    """A path as a person names it: absolute, or below one of the agent's state paths."""
    if path is None:
        return None
    spec = _spec(keeper, agent)
    roots = [Root(path=one, entry=None) for one in (spec.state.paths if spec is not None else ())]
    return history.absolute(roots, path)


def _is_fit(path: str) -> bool:
    return os.path.isabs(path) and "\0" not in path and len(path) <= limits.STATE_PATH_MAX


_SNAPSHOT = Parameter("snapshot", "string", "An id's first digits, a time, newest (default) or known-good.")
OPERATIONS = (
    Operation(
        "GET",
        "/v1/agents/{name}/restore",
        plan,
        "What a restore would do: the snapshot chosen, and what it would replace. Nothing is changed.",
        answers.RestorePlan,
        query=(
            _SNAPSHOT,
            Parameter("path", "string", "Only this path."),
            Parameter("compare", "integer", "0: do not look at what the live files have become."),
        ),
    ),
    Operation(
        "POST",
        "/v1/agents/{name}/restore",
        post,
        "Restore: progress as JSON lines, the result last. It goes on when the connection ends, unless `to` is given.",
        answers.Restored,
        RestoreOptions,
        media=jobs.MEDIA,
    ),
)
