"""The ASGI application: routes of all nouns, one shape of error, a description of itself.

Invariant: whatever comes in, what goes out is JSON of a documented shape or a documented stream; an exception
never reaches the client as a traceback. Called by serve.py and by tests.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast import errors
from holdfast.api import (
    agents,
    alerts,
    capacity,
    doctor,
    down,
    events,
    fleet,
    incidents,
    logs,
    openapi,
    push,
    queues,
    removal,
    restore,
    sleep,
    snapshots,
    state,
    status,
    usage,
)
from holdfast.api.operation import Operation, answer
from holdfast.errors import HoldfastError
from holdfast.keeper.keeper import Keeper

OPERATIONS: tuple[Operation, ...] = (
    *status.OPERATIONS,
    *agents.OPERATIONS,
    *sleep.OPERATIONS,
    *usage.OPERATIONS,
    *capacity.OPERATIONS,
    *push.OPERATIONS,
    *queues.OPERATIONS,
    *fleet.OPERATIONS,
    *events.OPERATIONS,
    *incidents.OPERATIONS,
    *logs.OPERATIONS,
    *doctor.OPERATIONS,
    *alerts.OPERATIONS,
    *down.OPERATIONS,
    *snapshots.OPERATIONS,
    *state.OPERATIONS,
    *restore.OPERATIONS,
    *removal.OPERATIONS,
)
_STATUS_OF_EXIT = {2: 400, 4: 404, 5: 503}


def make_app(keeper: Keeper) -> ASGIApp:
    """All routes around one keeper."""
    routes = [Route(operation.path, _bound(keeper, operation), methods=[operation.method]) for operation in OPERATIONS]
    routes.append(Route("/openapi.json", _describe, methods=["GET"]))
    return _OneErrorShape(Router(routes, redirect_slashes=False))


def _bound(keeper: Keeper, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await operation.handler(keeper, request)

    return endpoint


async def _describe(request: Request) -> Response:
    return answer(openapi.describe(OPERATIONS))


class _OneErrorShape:
    """Turns every exception into the documented JSON."""

    def __init__(self, inner: Router) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        scope["app"] = self  # makes the router raise 404 and 405 instead of answering in plain text
        try:
            await self._inner(scope, receive, watched)
            return
        except HoldfastError as error:
            shown = error_answer(error)
        except HTTPException as error:
            reason = f"{scope['method']} {scope['path']}: {error.detail}"
            shown = error_answer(HoldfastError(errors.API_REFUSED, reason=reason), error.status_code)
        except Exception as error:
            traceback.print_exc()  # to the keeper's own log
            shown = error_answer(HoldfastError(errors.KEEPER_FAILED, reason=repr(error)))
        if not started:
            await shown(scope, receive, send)


def error_answer(error: HoldfastError, status_code: int | None = None) -> Response:
    """{"error": {...}} with the fitting HTTP status."""
    if status_code is None:
        status_code = 507 if error.kind is errors.DISK_FULL else _STATUS_OF_EXIT.get(error.exit_code, 500)
    return answer({"error": {**error.as_dict(), "exit_code": error.exit_code}}, status_code)
