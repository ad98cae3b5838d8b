"""/v1/agents/NAME: describe one agent; start, stop or restart it."""

from __future__ import annotations

import asyncio

from msgspec import Struct, structs
from starlette.requests import Request
from starlette.responses import Response

from holdfast import limits
from holdfast.api.operation import Handler, Operation, answer, read_json
from holdfast.healing.model import Phase
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.state import versions
from holdfast.keeper.state.versions import Versions
from holdfast.keeper.telling import looking, outlook, status, views
from holdfast.keeper.telling.outlook import Outlook

_RESTING = {Phase.STOPPED, Phase.FINISHED}
_RUNNING = {Phase.HEALTHY, Phase.DEGRADED, Phase.FINISHED, Phase.ESCALATED}
POLL_S = 0.05


class ActOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """`wait`: answer only when the act is done (bounded), else at once."""

    wait: bool = False


class Described(views.Description, kw_only=True):
    """Everything known about one agent, and what lies ahead of it. `versions`: of its state, where it keeps any."""

    outlook: Outlook
    versions: Versions | None = None


async def describe(keeper: Keeper, request: Request) -> Response:
    name = request.path_params["name"]
    known = looking.describe(keeper, name)
    ahead = outlook.of(keeper.agent(name), keeper.clock.now_mono(), keeper.clock.now_at())
    kept = await versions.of(keeper.agent(name), keeper.snapshots)
    return answer(Described(**structs.asdict(known), outlook=ahead, versions=kept))


def _act(kind: str) -> Handler:
    async def act(keeper: Keeper, request: Request) -> Response:
        name = request.path_params["name"]
        options = await read_json(request, ActOptions)
        if kind == "restart":
            keeper.restart(name)
        else:
            keeper.set_wanted(name, up=kind == "start")
        if options.wait:
            await _settled(keeper, name, _RESTING if kind == "stop" else _RUNNING)
        return answer(views.AgentPhase(agent=name, phase=keeper.phase(name)))

    return act


async def _settled(keeper: Keeper, name: str, phases: set[Phase]) -> None:
    """Until the agent is in one of `phases` (or well for long enough, as for _RUNNING), or API_WAIT_MAX_S is over."""

    def is_done() -> bool:
        good_s = status.good_s(keeper.agent(name).ladder, keeper.clock.now_mono()) or 0.0
        return keeper.phase(name) in phases or (phases is _RUNNING and good_s >= limits.CONFIRM_S)

    deadline = asyncio.get_running_loop().time() + limits.API_WAIT_MAX_S
    await asyncio.sleep(POLL_S)
    while not is_done() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL_S)


OPERATIONS = (
    Operation("GET", "/v1/agents/{name}", describe, "Everything known about one agent.", Described),
    *(
        Operation("POST", f"/v1/agents/{{name}}/{kind}", _act(kind), words, views.AgentPhase, ActOptions)
        for kind, words in (
            ("start", "Want the agent up."),
            ("stop", "Want the agent down: its signal, its grace, then the whole tree is killed."),
            ("restart", "Stop the agent gracefully and start it again."),
        )
    ),
)
