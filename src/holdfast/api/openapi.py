"""The OpenAPI description, generated from the operations and the msgspec models. Pure; built once when asked."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from holdfast import __version__
from holdfast.api.operation import Operation


class ErrorBody(Struct, frozen=True):
    """What went wrong and what to do next; `code` is explained by `holdfast explain CODE`."""

    code: str
    name: str
    message: str
    next: str
    exit_code: int


class ErrorAnswer(Struct, frozen=True):
    error: ErrorBody


def describe(operations: tuple[Operation, ...]) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    models = [model for op in operations for model in (op.answer, op.body) if model is not None]
    schemas, components = msgspec.json.schema_components(
        [*models, ErrorAnswer], ref_template="#/components/schemas/{name}"
    )
    found = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for op in operations:
        answer = next(found) if op.answer is not None else {}
        body = next(found) if op.body is not None else None
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op, answer, body)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Holdfast", "version": __version__, "description": "Served on HOME/run/api.sock."},
        "paths": paths,
        "components": {"schemas": dict(sorted(components.items()))},
    }


def _operation(op: Operation, answer: dict[str, Any], body: dict[str, Any] | None) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", op.path)
    ]
    parameters += [
        {"name": it.name, "in": "query", "description": it.words, "schema": {"type": it.kind}} for it in op.query
    ]
    described: dict[str, Any] = {
        "operationId": _operation_id(op),
        "summary": op.words,
        "responses": {
            "200": {"description": "Done.", "content": {op.media: {"schema": answer}}},
            "default": {
                "description": "An error.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
            },
        },
    }
    if parameters:
        described["parameters"] = parameters
    if body is not None:
        described["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return described


def _operation_id(op: Operation) -> str:
    words = [part for part in re.split(r"[/{}.]+", op.path) if part and part != "v1"]
    return "_".join([op.method.lower(), *words])
