"""One HTTP operation: what routes, answers and documents it. Read by app.py (routing) and openapi.py (description).

Invariant: an operation that is served is described, since both come from the same list.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from holdfast import errors, limits
from holdfast.errors import HoldfastError
from holdfast.keeper.keeper import Keeper

Handler = Callable[[Keeper, Request], Awaitable[Response]]
Model = TypeVar("Model")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter. Path parameters are read off the path."""

    name: str
    kind: Literal["integer", "number", "string"]
    words: str


@dataclass(frozen=True, slots=True)
class Operation:
    """`answer` and `body` are types that msgspec can describe; `media` is the type of what is sent back."""

    method: str
    path: str
    handler: Handler
    words: str
    answer: Any = None
    body: Any = None
    query: tuple[Parameter, ...] = ()
    media: str = "application/json"


_encode = msgspec.json.Encoder(enc_hook=str).encode


def answer(value: Any, status: int = 200) -> Response:
    """Any model as JSON."""
    return Response(_encode(value), status_code=status, media_type="application/json")


async def read_body(request: Request) -> bytes:
    """The whole body, bounded. Raises HoldfastError API_REFUSED."""
    parts: list[bytes] = []
    total = 0
    async for part in request.stream():
        total += len(part)
        if total > limits.API_BODY_MAX_BYTES:
            raise refused(f"the request is larger than {limits.API_BODY_MAX_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


async def read_json(request: Request, model: type[Model]) -> Model:
    """The body as `model`; an empty one counts as {}. Raises HoldfastError API_REFUSED with place and reason."""
    raw = await read_body(request)
    try:
        return msgspec.json.decode(raw or b"{}", type=model)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refused(f"the request's JSON is not acceptable: {error}") from error


def integer(request: Request, name: str, default: int) -> int:
    """A query parameter. Raises HoldfastError API_REFUSED."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    try:
        return int(text)
    except ValueError as error:
        raise refused(f"query parameter {name}: {text[:50]!r} is no whole number") from error


def number(request: Request, name: str) -> float | None:
    """A query parameter, None when absent. Raises HoldfastError API_REFUSED."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise refused(f"query parameter {name}: {text[:50]!r} is no number") from error
    if not 0 <= value < 1e12:
        raise refused(f"query parameter {name}: {text[:50]} is out of range")
    return value


def refused(reason: str) -> HoldfastError:
    return HoldfastError(errors.API_REFUSED, reason=reason)
