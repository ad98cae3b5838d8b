"""Readers of how agents share the node: `node` at the top level, and `memory`, `idle` and `replicas` of an agent.

Invariant: as in `readers.py`. What single values cannot show (a start larger than the limit, an idle time without an
action) is found by `agreement.py`. Called by `fields.py`, `reading.py` and `schema.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from holdfast import limits
from holdfast.spec import amounts, document, units
from holdfast.spec.model import AskMemory, Node
from holdfast.spec.problems import show
from holdfast.spec.readers import (
    OFF,
    REFUSED,
    WORDS,
    Cursor,
    Reader,
    Shape,
    Shaped,
    either,
    is_off,
    members,
    scalar,
    shaped,
    url,
    words,
)

ACTIONS: Final = ("freeze", "stop", "none")
ASK_SIGNALS: Final = ("SIGUSR1", "SIGUSR2", "SIGHUP")


@dataclass(frozen=True, slots=True)
class Spread:
    """`replicas` that follow a queue: from `least` to `most` of them, one for each `per_queue_depth` that wait."""

    least: int
    most: int
    per_queue_depth: float


def _depth(at: Cursor) -> Any:
    expected = "a number above 0: so much of the queue is for one replica"
    value = scalar(at, expected, ("int", "float"))
    if value is None:
        return REFUSED
    try:
        found = float(value)
    except ValueError:  # numbers of YAML 1.1 such as 1:30 or 0x10
        return at.refuse(expected)
    return found if 0 < found <= limits.QUEUE_DEPTH_MAX and math.isfinite(found) else at.refuse(expected)


_COUNT = amounts.whole(1, limits.REPLICAS_MAX)
_SPREAD: Final[dict[str, Reader]] = {
    "min": amounts.whole(0, limits.REPLICAS_MAX),
    "max": _COUNT,
    "per_queue_depth": _depth,
}
_SPREAD_SHAPE: Final[Shape] = {
    "type": "object",
    "properties": {
        "min": {"type": "integer", "minimum": 0, "maximum": limits.REPLICAS_MAX},
        "max": _COUNT.shape,
        "per_queue_depth": {"type": "number"},
    },
    "required": ["max", "per_queue_depth"],
    "additionalProperties": False,
}


@shaped(either(_COUNT.shape, _SPREAD_SHAPE))
def replicas(at: Cursor) -> Any:
    """A whole number, or {min, max, per_queue_depth}: an int or a Spread."""
    if not isinstance(at.node, document.Mapping):
        return _COUNT(at)
    found = members(at, _SPREAD, ("max", "per_queue_depth"))
    if found is None:
        return REFUSED
    spread = Spread(found.get("min", 1), found["max"], found["per_queue_depth"])
    if spread.least > spread.most:
        return at.refuse(f"min at most max ({spread.most})", f"min {spread.least}")
    return spread


@shaped({"enum": list(ACTIONS)})
def action(at: Cursor) -> Any:
    """freeze, stop or none (also `off`)."""
    if is_off(at.node):
        return "none"
    value = scalar(at, "freeze, stop or none", ("str",))
    if value is None:
        return REFUSED
    return value if value in ACTIONS else at.refuse("freeze, stop or none", show(value))


@shaped(either({"enum": list(ASK_SIGNALS)}, WORDS, OFF))
def ask(at: Cursor) -> Any:
    """A signal, a URL, or a command line -> AskMemory; `off` or none -> None."""
    text = at.node.text if isinstance(at.node, document.Scalar) and at.node.kind == "str" else ""
    if is_off(at.node) or text == "none":
        return None
    if "://" in text:
        address = url("http")(at)
        return REFUSED if address is REFUSED else AskMemory(url=address)
    if text in ASK_SIGNALS or f"SIG{text}" in ASK_SIGNALS:
        return AskMemory(signal=text if text.startswith("SIG") else f"SIG{text}")
    if text.startswith("SIG"):
        return at.refuse(f"{', '.join(ASK_SIGNALS)}, a URL such as http://HOST:PORT/PATH, or a command", show(text))
    found = words(at)
    return REFUSED if found is REFUSED else AskMemory(command=found)


_NODE: Final[dict[str, Shaped]] = {
    "memory": amounts.size(limits.NODE_MEMORY_MIN_BYTES),
    "reserve": amounts.size(limits.NODE_KEPT_MIN_BYTES),
}
NODE_WORDS: Final[dict[str, str]] = {
    "memory": "what of the machine's memory the fleet may use in all, reserve included"
    " (default: all of it, or the limit of the memory cgroup that Holdfast was started in)",
    "reserve": "what of that is never given to agents (default: 8 % and at least 256Mi, at most a quarter)",
}
NODE_SHAPE: Final[Shape] = {
    "type": "object",
    "properties": {
        name: {**one.shape, "description": NODE_WORDS[name][:1].upper() + NODE_WORDS[name][1:]}
        for name, one in _NODE.items()
    },
    "additionalProperties": False,
}


def node(at: Cursor) -> Node:
    """The node as declared; mistakes are noted, and what is wrong is left out."""
    if isinstance(at.node, document.Scalar) and at.node.kind == "null":
        return Node()  # `node:` with nothing below it, as all keys may be left out
    found = members(at, _NODE)
    if found is None:
        return Node()
    memory_bytes, reserve_bytes = found.get("memory"), found.get("reserve")
    if memory_bytes is not None and reserve_bytes is not None and reserve_bytes >= memory_bytes:
        inner = at.node.get("reserve") if isinstance(at.node, document.Mapping) else None
        where = at.child("reserve", inner) if inner is not None else at
        where.refuse(f"less than memory ({units.format_size(memory_bytes)})", units.format_size(reserve_bytes))
    return Node(memory_bytes=memory_bytes, reserve_bytes=reserve_bytes)
