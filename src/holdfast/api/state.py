"""/v1/agents/NAME/state: history, differences, contents, cost and soundness of what an agent keeps on disk."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast import limits
from holdfast.api import jobs
from holdfast.api.jobs import Asked
from holdfast.api.operation import Operation, Parameter, answer, read_json, refused
from holdfast.api.snapshots import chosen, there
from holdfast.keeper.keeper import Keeper
from holdfast.state import answers
from holdfast.state.looking import choose

LIVE = "live"  # instead of a snapshot: the tree as it stands now


class VerifyOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`all`: read every block of every snapshot, rather than look whether the blocks are there and read a sample."""

    all: bool = False


class CollectOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`dry_run`: only say what would be freed."""

    dry_run: bool = False


def _asked(keeper: Keeper, request: Request, what: str, path: str = "") -> Asked:
    return Asked(request.path_params["name"], what, str(keeper.home.path), path=path)


def _path(request: Request) -> str:
    """The query's path. Raises HoldfastError API_REFUSED."""
    path = request.query_params.get("path", "")
    if not path or "\0" in path or len(path) > limits.STATE_PATH_MAX:
        raise refused(f"query parameter path: expected a path of at most {limits.STATE_PATH_MAX} characters")
    return path


async def log(keeper: Keeper, request: Request) -> Response:
    path = _path(request)
    asked = _asked(keeper, request, "looking for versions", path)
    return answer(await jobs.result(asked, jobs.of(keeper).job("log", asked.agent, path=path)))


async def diff(keeper: Keeper, request: Request) -> Response:
    """`b` absent: the tree as it stands."""
    asked = _asked(keeper, request, "comparing")
    if request.query_params.get("b", LIVE) == LIVE:
        there(keeper, asked.agent)
    a = await chosen(keeper, asked.agent, request.query_params.get("a") or choose.KNOWN_GOOD)
    text = request.query_params.get("b") or LIVE
    b = None if text == LIVE else (await chosen(keeper, asked.agent, text)).id
    path = request.query_params.get("path") or None
    return answer(await jobs.result(asked, jobs.of(keeper).job("diff", asked.agent, a=a.id, b=b, path=path)))


async def cat(keeper: Keeper, request: Request) -> Response:
    path = _path(request)
    asked = _asked(keeper, request, "reading", path)
    found = await chosen(keeper, asked.agent, request.query_params.get("snapshot") or choose.NEWEST)
    messages = jobs.of(keeper).job("cat", asked.agent, snapshot=found.id, path=path)
    return await jobs.pieces(asked, messages, "application/octet-stream")


async def export(keeper: Keeper, request: Request) -> Response:
    asked = _asked(keeper, request, "the export")
    found = await chosen(keeper, asked.agent, request.query_params.get("snapshot") or choose.NEWEST)
    return await jobs.pieces(asked, jobs.of(keeper).job("export", asked.agent, snapshot=found.id), "application/x-tar")


async def du(keeper: Keeper, request: Request) -> Response:
    asked = _asked(keeper, request, "measuring")
    return answer(await jobs.result(asked, jobs.of(keeper).job("du", asked.agent)))


async def verify(keeper: Keeper, request: Request) -> Response:
    options = await read_json(request, VerifyOptions)
    asked = _asked(keeper, request, "the check")
    return await jobs.lines(asked, jobs.of(keeper).job("verify", asked.agent, all=options.all))


async def gc(keeper: Keeper, request: Request) -> Response:
    options = await read_json(request, CollectOptions)
    asked = _asked(keeper, request, "the collection")
    return await jobs.lines(asked, jobs.of(keeper).job("gc", asked.agent, dry_run=options.dry_run))


_BASE = "/v1/agents/{name}/state"
_SNAPSHOT = Parameter("snapshot", "string", "An id's first digits, a time, newest (default) or known-good.")
_PATH = Parameter("path", "string", "Absolute, or relative to one of the agent's state paths.")
OPERATIONS = (
    Operation("GET", f"{_BASE}/log", log, "The versions of one path.", answers.Versions, query=(_PATH,)),
    Operation(
        "GET",
        f"{_BASE}/diff",
        diff,
        "What differs between two snapshots, or a snapshot and the live tree.",
        answers.Differences,
        query=(
            Parameter("a", "string", "The earlier: an id's first digits, a time, newest or known-good (default)."),
            Parameter("b", "string", "The later: the same, or live (default)."),
            Parameter("path", "string", "Only below this path, with the differences of text."),
        ),
    ),
    Operation(
        "GET",
        f"{_BASE}/cat",
        cat,
        "One file as it was. An answer that is cut short is damaged: do not use it.",
        str,
        query=(_SNAPSHOT, _PATH),
        media="application/octet-stream",
    ),
    Operation(
        "GET",
        f"{_BASE}/export",
        export,
        "A snapshot as a tar archive. An answer that is cut short is damaged: do not use it.",
        str,
        query=(_SNAPSHOT,),
        media="application/x-tar",
    ),
    Operation("GET", f"{_BASE}/du", du, "What the versions cost, and what they would without sharing.", answers.Usage),
    Operation(
        "POST",
        f"{_BASE}/verify",
        verify,
        "Check that snapshots can be restored: progress as JSON lines, the result last.",
        answers.Checked,
        VerifyOptions,
        media=jobs.MEDIA,
    ),
    Operation(
        "POST",
        f"{_BASE}/gc",
        gc,
        "Free what no snapshot needs any more: progress as JSON lines, the result last.",
        answers.Collected,
        CollectOptions,
        media=jobs.MEDIA,
    ),
)
