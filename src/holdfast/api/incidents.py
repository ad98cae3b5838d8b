"""/v1/incidents: what went wrong, how it ended, and the post-mortem of it."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from holdfast.api.operation import Operation, answer
from holdfast.incidents import files
from holdfast.keeper.keeper import Keeper
from holdfast.keeper.telling import looking


class Incidents(Struct, kw_only=True):
    """`groups`: one row for each kind of incident, the one that occurred last at the end."""

    incidents: list[dict[str, Any]]
    groups: list[dict[str, Any]]


class PostMortem(Struct, kw_only=True):
    markdown: str


async def list_all(keeper: Keeper, request: Request) -> Response:
    return answer({"incidents": looking.incident_rows(keeper), "groups": looking.incident_groups(keeper)})


async def show(keeper: Keeper, request: Request) -> Response:
    """What is known now, and the evidence of the last post-mortem behind it."""
    known = looking.incident_detail(keeper, request.path_params["id"])
    written = await asyncio.to_thread(files.read_report, keeper.home.incidents, str(known["id"]))
    return answer({**written, **known})


async def markdown(keeper: Keeper, request: Request) -> Response:
    known = looking.incident_detail(keeper, request.path_params["id"])
    text = await asyncio.to_thread(files.read_markdown, keeper.home.incidents, str(known["id"]))
    return answer(PostMortem(markdown=text))


OPERATIONS = (
    Operation("GET", "/v1/incidents", list_all, "The newest incidents, oldest first, and their kinds.", Incidents),
    Operation("GET", "/v1/incidents/{id}", show, "One incident with its evidence and timeline.", dict[str, Any]),
    Operation(
        "GET",
        "/v1/incidents/{id}/postmortem",
        markdown,
        "The post-mortem as Markdown; empty until it was written.",
        PostMortem,
    ),
)
