"""The part of JSON Schema (draft 2020-12) that the schema of holdfast.yaml uses, as a small checker for tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_WORDS = {"$schema", "$id", "$defs", "title", "description", "default", "format"}
_RULES = {
    *("$ref", "anyOf", "type", "enum", "const", "minimum", "maximum", "pattern", "minLength", "items", "minItems"),
    *("maxItems", "properties", "patternProperties", "additionalProperties", "propertyNames", "required"),
    *("minProperties", "maxProperties"),
}
KEYWORDS = _WORDS | _RULES


def mistakes(root: dict[str, Any], value: Any) -> list[str]:
    """Where `value` does not fit, in words; empty when it does."""
    return list(_walk(root, root, value, "$"))


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind in ("integer", "number"):
        return False
    return isinstance(value, _TYPES[kind])


def _walk(root: dict[str, Any], shape: dict[str, Any], value: Any, at: str) -> Iterator[str]:
    if "$ref" in shape:
        target = root
        for part in shape["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        yield from _walk(root, target, value, at)
    if "anyOf" in shape:
        tried = [list(_walk(root, one, value, at)) for one in shape["anyOf"]]
        if all(tried):
            yield from min(tried, key=len)
    kinds = shape.get("type", [])
    if kinds and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{at}: {value!r} is no {kinds}"
        return
    for wanted in [shape["const"]] if "const" in shape else []:
        if value != wanted or isinstance(value, bool) != isinstance(wanted, bool):
            yield f"{at}: {value!r} is not {wanted!r}"
    if "enum" in shape and not any(value == one and type(value) is type(one) for one in shape["enum"]):
        yield f"{at}: {value!r} is none of {shape['enum']}"
    if isinstance(value, str):
        if not re.search(shape.get("pattern", ""), value) or len(value) < shape.get("minLength", 0):
            yield f"{at}: {value!r} does not match"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not shape.get("minimum", value) <= value <= shape.get("maximum", value):
            yield f"{at}: {value!r} is out of bounds"
    elif isinstance(value, list):
        if not shape.get("minItems", 0) <= len(value) <= shape.get("maxItems", len(value)):
            yield f"{at}: {len(value)} items"
        for place, item in enumerate(value):
            yield from _walk(root, shape.get("items", {}), item, f"{at}[{place}]")
    elif isinstance(value, dict):
        yield from _object(root, shape, value, at)


def _object(root: dict[str, Any], shape: dict[str, Any], value: dict[Any, Any], at: str) -> Iterator[str]:
    if not shape.get("minProperties", 0) <= len(value) <= shape.get("maxProperties", len(value)):
        yield f"{at}: {len(value)} keys"
    yield from (f"{at}: {name} is missing" for name in shape.get("required", ()) if name not in value)
    for key, item in value.items():
        name = str(key)
        yield from _walk(root, shape.get("propertyNames", {}), name, f"{at} key {name}")
        fits = [one for pattern, one in shape.get("patternProperties", {}).items() if re.search(pattern, name)]
        if name in shape.get("properties", {}):
            fits.append(shape["properties"][name])
        rest = shape.get("additionalProperties", True)
        if not fits and rest is False:
            yield f"{at}: the unknown key {name}"
        for one in fits or ([rest] if isinstance(rest, dict) else []):
            yield from _walk(root, one, item, f"{at}.{name}")
