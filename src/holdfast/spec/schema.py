"""The JSON Schema (draft 2020-12) of holdfast.yaml, for editors: from the same table that reading uses.

It may accept more than reading does (names, paths and circles are not looked at), never less. Invariant: a key that is
read is in the schema with its meaning, its default and why. Pure. Called by `holdfast schema`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.spec import sharing
from holdfast.spec.fields import FIELDS, NOT_IN_DEFAULTS, NOT_IN_TEMPLATES, SWITCHED_OFF, Field
from holdfast.spec.layers import OPTION_READERS
from holdfast.spec.readers import OFF, TEXT, WORDS, Shape, either, list_of
from holdfast.spec.recipe import RecipeBook
from holdfast.spec.shown import shown

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FILE_NAME = "holdfast.schema.json"
_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_GROUPS = {
    "limits": "hard limits; where they hold, `holdfast doctor` says",
    "health": "how it is asked and what it tells; off: only its process is watched",
    "stop": "how it is stopped",
    "restart": "the ladder's numbers, and planned restarts",
    "logs": "how much of what it prints is kept, and where it is sent",
    "resources": "from when on the use of a resource is told; off: never",
    "memory": "what it needs of the node's memory, beside its hard limit",
    "idle": "what becomes of it when it has nothing to do; off: nothing",
}
# A merge key stands where a mapping stands; editors see it unmerged.
_MERGE: Shape = {"<<": {"type": ["object", "array"]}}


def schema(book: RecipeBook) -> dict[str, Any]:
    """The whole schema; its keys are in the order of the reference."""
    tops: dict[str, Shape] = {
        "version": {"const": 1, "default": 1, "description": "The version of this format."},
        "include": _says(
            either(TEXT, list_of(TEXT)), "More files of this form: paths and globs relative to this file."
        ),
        "defaults": {"$ref": "#/$defs/defaults", "description": "Keys that hold for all agents of this file."},
        "templates": _named("#/$defs/template", "Keys that agents take over with `template: NAME`."),
        "agents": _named("#/$defs/agent", "The agents, by name."),
        "alerts": _alerts(),
        "last_resort": _says(WORDS, "Run when Holdfast's own keeper stays dead for a minute."),
        "node": _says(sharing.NODE_SHAPE, "How much of the machine's memory the fleet may use."),
    }
    agent = _keys(book)
    return {
        "$schema": DIALECT,
        "$id": FILE_NAME,
        "title": "holdfast.yaml",
        "type": "object",
        "properties": {**tops, **_MERGE},
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
        "$defs": {
            "agent": agent,
            "template": _without(agent, NOT_IN_TEMPLATES),
            "defaults": _without(agent, NOT_IN_DEFAULTS),
        },
    }


def _named(ref: str, words: str) -> Shape:
    """A mapping of names. Merge keys and `x-` are no names."""
    return {
        "type": "object",
        "description": words,
        "patternProperties": {_NAME: {"$ref": ref}},
        "properties": dict(_MERGE),
        "additionalProperties": False,
    }


def _without(agent: Shape, excluded: Iterable[str]) -> Shape:
    """The same keys but for `excluded`."""
    named = [key for key in agent["properties"] if key not in excluded and key not in _MERGE]
    return _closed({key: {"$ref": f"#/$defs/agent/properties/{key}"} for key in named})


def _keys(book: RecipeBook) -> Shape:
    """The keys of an agent, and a block for each recipe that has options."""
    properties: dict[str, Shape] = {}
    for path, field in FIELDS.items():
        if len(path) == 1:
            properties[path[0]] = _key(path, field)
            continue
        group = properties.setdefault(path[0], _closed({}))
        group["properties"][path[1]] = _key(path, field)
    for name, words in _GROUPS.items():
        group = properties[name]
        properties[name] = _says(either(group, OFF) if name in SWITCHED_OFF else group, words)
    recipe = properties["recipe"]
    properties["recipe"] = recipe | {"enum": list(book.names())}
    for name in book.names():
        form = book.find(name)
        if form is not None and form.options:
            block = {
                option.name: _says(OPTION_READERS[option.kind].shape, _sentence(option.summary, option.default))
                for option in form.options
            }
            properties[name] = _says(_closed(block), f"what the recipe {name} must know")
    return _closed(properties)


def _key(path: tuple[str, ...], field: Field) -> Shape:
    shape = field.read.shape
    if field.each:
        shape = {"type": "object", "additionalProperties": field.read.shape}
    if path == ("env",):
        shape |= {"propertyNames": {"pattern": "^([A-Za-z_][A-Za-z0-9_]*|<<)$"}}
    default = "" if field.default is None else shown(path, field.default)
    said = _sentence(field.means, f"{default}: {field.why}" if default else field.why)
    described = _says(shape, said)
    return described | {"default": field.default} if _plain(field.default) and not field.unit else described


def _plain(value: object) -> bool:
    return isinstance(value, bool | int | str)


def _sentence(means: str, default: str) -> str:
    return f"{means} (default: {default})" if default else means


def _says(shape: Shape, words: str) -> Shape:
    return {**shape, "description": words[:1].upper() + words[1:]}


def _closed(properties: Shape) -> Shape:
    return {"type": "object", "properties": {**properties, **_MERGE}, "additionalProperties": False}


def _alerts() -> Shape:
    uri: Shape = {"type": "string", "format": "uri"}
    channels: dict[str, Shape] = {
        "command": _says(WORDS, "Gets the alert as JSON on standard input."),
        "webhook": _says(uri, "Gets the alert as JSON by POST."),
        "ntfy": _says(uri, "Gets the text by POST, title and priority as headers."),
    }
    one = {**_closed(channels), "minProperties": 1, "maxProperties": 1}
    return _says(list_of(one), "Ways to tell a person; each entry is exactly one of them.")
