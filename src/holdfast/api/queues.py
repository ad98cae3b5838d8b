"""/v1/queues: how much work waits for each group of replicas that follows a queue, and what became of it."""

from __future__ import annotations

import math

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast import limits
from holdfast.api.operation import Operation, answer, read_json, refused
from holdfast.keeper.density.scaling import QueueView
from holdfast.keeper.keeper import Keeper


class Depth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`depth`: how many tasks wait now. Say it again within five minutes, or nobody knows it any more."""

    depth: float


class Queues(Struct, frozen=True, kw_only=True):
    """All groups that follow a queue, by name."""

    queues: list[QueueView]


async def _report(keeper: Keeper, request: Request) -> Response:
    told = await read_json(request, Depth)
    if not (math.isfinite(told.depth) and 0 <= told.depth <= limits.QUEUE_DEPTH_MAX):
        raise refused(f"depth: expected a number from 0 to {limits.QUEUE_DEPTH_MAX:g}, found {told.depth:g}")
    return answer(keeper.scaler.report(request.path_params["group"], told.depth))


async def _one(keeper: Keeper, request: Request) -> Response:
    return answer(keeper.scaler.view(request.path_params["group"]))


async def _all(keeper: Keeper, request: Request) -> Response:
    return answer(Queues(queues=keeper.scaler.views()))


OPERATIONS = (
    Operation("GET", "/v1/queues", _all, "Groups of replicas that follow a queue.", Queues),
    Operation("GET", "/v1/queues/{group}", _one, "One group of replicas and its queue.", QueueView),
    Operation("PUT", "/v1/queues/{group}", _report, "Say how many tasks wait for a group.", QueueView, Depth),
)
