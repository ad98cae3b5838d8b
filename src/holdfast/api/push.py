"""/v1/agents/NAME/push: where an agent pushes its beats to. The only answer that shows its token."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast import errors
from holdfast.api.operation import Operation, answer
from holdfast.errors import HoldfastError
from holdfast.keeper.keeper import Keeper


class PushUrls(Struct, frozen=True, kw_only=True):
    """`url` is for healthchecks.io clients, `kuma_url` for Uptime Kuma ones. `problem`: why nothing comes in, or ""."""

    agent: str
    url: str
    kuma_url: str
    every_s: float
    grace_s: float
    problem: str = ""


async def _urls(keeper: Keeper, request: Request) -> Response:
    agent = keeper.agent(request.path_params["name"])
    rule = agent.spec.health.push
    if rule is None:
        raise HoldfastError(errors.PUSH_NOT_DECLARED, agent=agent.name)
    pushes = keeper.listening.pushes
    try:
        pushes.door.open()
        url = pushes.door.url(agent.name)
    except OSError as error:
        raise HoldfastError(errors.DISK_FULL, path=keeper.home.path, what="a token for pushes") from error
    found = PushUrls(
        agent=agent.name, url=url, kuma_url=url.replace("/ping/", "/api/push/"), every_s=rule.every_s,
        grace_s=rule.grace_s, problem=pushes.door.failed,
    )  # fmt: skip
    return answer(found)


OPERATIONS = (
    Operation("GET", "/v1/agents/{name}/push", _urls, "The URLs an agent pushes its beats to.", answer=PushUrls),
)
