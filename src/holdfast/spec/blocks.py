"""Readers of values that are small mappings or lists of them: times, dependencies, maintenance, log shipping.

Each reads the short form (one word) and the long one (a mapping). Invariant: as in `readers.py`. What is asked and
heard about health is in `watching.py`. Called by `fields.py`.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from holdfast import limits
from holdfast.spec import amounts, readers, times
from holdfast.spec.document import Mapping, Scalar, Sequence
from holdfast.spec.model import Dependency, Maintenance, PlannedTime, Shipping
from holdfast.spec.problems import nearest, show
from holdfast.spec.readers import (
    OFF,
    REFUSED,
    TEXT,
    Cursor,
    Shape,
    either,
    is_off,
    is_on,
    list_of,
    members,
    scalar,
    shaped,
)

ON: Final[Shape] = {"enum": ["on", True]}
_TIME = "a time such as 04:00, 04:00 Europe/Berlin or Mon-Fri 04:00 UTC"
CONDITIONS = ("started", "healthy", "finished")
# The spellings of compose files.
_COMPOSE = {
    "service_started": "started",
    "service_healthy": "healthy",
    "service_completed_successfully": "finished",
}
_CONDITION_SHAPE: Final[Shape] = {"enum": [*CONDITIONS, *_COMPOSE]}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def _time(at: Cursor) -> Any:
    value = scalar(at, _TIME, ("str", "int"))
    if value is None:
        return REFUSED
    try:
        return times.parse(value, times.machine_zone())
    except ValueError as error:
        return at.refuse(_TIME, meant=str(error))


@shaped(either(TEXT, list_of(TEXT, limits.PLANNED_TIMES_MAX)))
def planned_times(at: Cursor) -> Any:
    """One time or a list of them; `off` is none. A tuple of PlannedTime."""
    if is_off(at.node):
        return ()
    if not isinstance(at.node, Sequence):
        one = _time(at)
        return REFUSED if one is REFUSED else (one,)
    if len(at.node.items) > limits.PLANNED_TIMES_MAX:
        return at.refuse(f"at most {limits.PLANNED_TIMES_MAX} times", f"{len(at.node.items)} times")
    found: list[PlannedTime] = [_time(at.child(str(place), item)) for place, item in enumerate(at.node.items)]
    return REFUSED if REFUSED in found else tuple(found)


_WAIT = {"wait": amounts.duration(0)}


@shaped(either({"type": "boolean"}, {"type": "object", "properties": {"wait": amounts.DURATION}}))
def when_idle(at: Cursor) -> Any:
    """How long a planned restart waits for the agent to be idle, in seconds; None: it does not."""
    if isinstance(at.node, Mapping):
        found = members(at, _WAIT)
        return REFUSED if found is None else found.get("wait", limits.IDLE_WAIT_S)
    if is_off(at.node):
        return None
    return limits.IDLE_WAIT_S if is_on(at.node) else at.refuse("true, false, or {wait: 1h}")


@shaped(
    either(
        list_of(TEXT, limits.DEPENDENCIES_MAX),
        {
            "type": "object",
            "additionalProperties": either(
                _CONDITION_SHAPE, {"type": "object", "properties": {"condition": _CONDITION_SHAPE}}
            ),
        },
    )
)
def dependencies(at: Cursor) -> Any:
    """[a, b], or {a: healthy, b: {condition: service_healthy}}. The names are looked up when all are known."""
    node = at.node
    if not isinstance(node, Sequence | Mapping):
        return at.refuse("a list of agents, or a mapping such as {database: healthy}")
    if len(node.items if isinstance(node, Sequence) else node.pairs) > limits.DEPENDENCIES_MAX:
        return at.refuse(f"at most {limits.DEPENDENCIES_MAX} agents", "a longer list")
    found: dict[str, Any] = {}
    if isinstance(node, Sequence):
        for place, item in enumerate(node.items):
            name = readers.value_text(at.child(str(place), item))
            found[str(place) if name is REFUSED else name] = REFUSED if name is REFUSED else "started"
    else:
        for key, inner in at.pairs():
            found[key.text] = _condition(inner)
    if REFUSED in found.values():
        return REFUSED
    return tuple(Dependency(agent=name, condition=condition) for name, condition in found.items())


def _condition(at: Cursor) -> Any:
    if isinstance(at.node, Mapping):
        long = members(at, {"condition": readers.Shaped(_condition, _CONDITION_SHAPE)}, ("condition",))
        return REFUSED if long is None else long["condition"]
    expected = "one of started, healthy, finished"
    value = scalar(at, expected, ("str",))
    if value is None:
        return REFUSED
    condition = _COMPOSE.get(value, value)
    known = (*CONDITIONS, *_COMPOSE)
    return condition if condition in CONDITIONS else at.refuse(expected, meant=nearest(value, known))


_WINDOWS = {"windows": planned_times, "length": amounts.duration(60)}


@shaped(
    either(
        OFF,
        ON,
        {
            "type": "object",
            "properties": {"windows": planned_times.shape, "length": amounts.DURATION},
            "required": ["windows"],
            "additionalProperties": False,
        },
    )
)
def maintenance(at: Cursor) -> Any:
    """on, off, or {windows, length}."""
    if is_off(at.node):
        return Maintenance()
    if is_on(at.node):
        return Maintenance(on=True)
    if not isinstance(at.node, Mapping):
        return at.refuse('on, off, or windows such as {windows: ["Sun 03:00 UTC"], length: 2h}')
    found = members(at, _WINDOWS, ("windows",))
    if found is None:
        return REFUSED
    return Maintenance(windows=found["windows"], length_s=found.get("length", limits.MAINTENANCE_LENGTH_S))


_URLS = {"loki": readers.url("http", "https"), "otlp": readers.url("http", "https")}
_SHIP_SHAPE: Final[Shape] = {
    "type": "object",
    "properties": {
        "syslog": {"type": "string", "pattern": "^(udp|tcp|unix)://"},
        "loki": {"type": "string", "format": "uri"},
        "otlp": {"type": "string", "format": "uri"},
        "headers": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
    },
    "additionalProperties": False,
}


@shaped(list_of(_SHIP_SHAPE, limits.SHIPPING_MAX))
def shipping(at: Cursor) -> Any:
    """A list of {syslog: URL} | {loki: URL, headers: {…}} | {otlp: URL, headers: {…}}."""
    if is_off(at.node):
        return ()
    if not isinstance(at.node, Sequence) or len(at.node.items) > limits.SHIPPING_MAX:
        return at.refuse(f"a list of at most {limits.SHIPPING_MAX}, such as [{{syslog: udp://127.0.0.1:514}}]")
    found = [_ship(at.child(str(place), item)) for place, item in enumerate(at.node.items)]
    return REFUSED if REFUSED in found else tuple(found)


def _ship(at: Cursor) -> Any:
    kinds = {"syslog": readers.Shaped(_syslog, TEXT), **_URLS}
    found = members(at, {**kinds, "headers": readers.Shaped(_headers, {})})
    if found is None:
        return REFUSED
    chosen = [kind for kind in kinds if kind in found]
    if len(chosen) != 1:
        return at.refuse("exactly one of syslog: URL, loki: URL, otlp: URL")
    if chosen[0] == "syslog" and "headers" in found:
        return at.refuse("no headers: syslog has none", "headers")
    return Shipping(kind=chosen[0], url=found[chosen[0]], headers=found.get("headers", {}))  # type: ignore[arg-type]


def _syslog(at: Cursor) -> Any:
    expected = "udp://HOST:PORT, tcp://HOST:PORT or unix:///dev/log"
    value = scalar(at, expected, ("str",))
    if value is None:
        return REFUSED
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return at.refuse(expected)
    if not value.isascii() or not value.isprintable() or " " in value:
        return at.refuse(expected)
    if parts.scheme == "unix":
        # Longer paths cannot be connected to.
        fits = len(parts.path) <= limits.SOCKET_PATH_MAX_BYTES
        return value if not parts.netloc and parts.path.startswith("/") and fits else at.refuse(expected)
    good = parts.scheme in ("udp", "tcp") and parts.hostname and port != 0 and parts.path in ("", "/")
    meant = f"udp://{value}" if re.fullmatch(r"[\w.-]+:\d+", value) else ""
    return value if good else at.refuse(expected, meant=meant)


def _headers(at: Cursor) -> Any:
    """Names to text; the values are secrets and never quoted."""
    found: dict[str, Any] = {}
    for key, inner in at.pairs("a mapping of names to text, such as {Authorization: Bearer ...}"):
        if not _HEADER.fullmatch(key.text):
            found[key.text] = inner.refuse("the name of an HTTP header", f"the name {show(key.text)}")
        elif not isinstance(inner.node, Scalar) or inner.node.kind not in ("str", "int", "float"):
            found[key.text] = inner.refuse("text")
        elif not inner.node.text.isprintable() or not inner.node.text.isascii():
            found[key.text] = inner.refuse("printable ASCII text", "another character")
        else:
            found[key.text] = inner.node.text
    return REFUSED if not isinstance(at.node, Mapping) or REFUSED in found.values() else found


_ONE_SHARE = amounts.share(off=False)


@shaped(either(OFF, list_of(amounts.SHARE, 2) | {"minItems": 2}))
def memory_shares(at: Cursor) -> Any:
    """[warn, alarm] as shares of the memory limit; `off`: thresholds that nothing reaches."""
    if is_off(at.node):
        return (limits.SHARE_NEVER, limits.SHARE_NEVER)
    expected = "two shares of limits.memory such as [70%, 80%], or off"
    if not isinstance(at.node, Sequence) or len(at.node.items) != 2:
        return at.refuse(expected)
    warn, alarm = (_ONE_SHARE(at.child(str(place), item)) for place, item in enumerate(at.node.items))
    if REFUSED in (warn, alarm):
        return REFUSED
    return (warn, alarm) if warn <= alarm else at.refuse(expected, "a warning above the alarm")
