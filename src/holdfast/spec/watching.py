"""Readers of `health`: what is asked (a URL, a command), and what is heard (a file, the log, a push).

Each reads the short form and the long one. Invariant: as in `readers.py`; a regular expression that is taken compiles.
Called by `fields.py`.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, Final

from holdfast import limits
from holdfast.spec import amounts, readers
from holdfast.spec.document import Mapping, Scalar, Sequence
from holdfast.spec.model import CommandProbe, FileBeat, HttpProbe, LogPattern, LogWatch, PushBeat
from holdfast.spec.problems import nearest, show
from holdfast.spec.readers import (
    OFF,
    REFUSED,
    TEXT,
    WORDS,
    Cursor,
    Shape,
    Shaped,
    either,
    is_off,
    is_on,
    list_of,
    members,
    scalar,
    shaped,
)


def _object(properties: Shape, *needed: str) -> Shape:
    shape: Shape = {"type": "object", "properties": properties, "additionalProperties": False}
    return shape | ({"required": list(needed)} if needed else {})


_JSON_VALUE: Final[Shape] = {"type": ["string", "number", "boolean"]}


@shaped(
    either(
        TEXT,
        OFF,
        _object({"url": TEXT, "expect": {"type": "object", "additionalProperties": _JSON_VALUE}}, "url"),
    )
)
def http(at: Cursor) -> Any:
    """`off` -> None; a URL, or {url, expect} -> HttpProbe."""
    node = at.node
    if is_off(node):
        return None
    if isinstance(node, Scalar):
        address = readers.url("http")(at)
        return REFUSED if address is REFUSED else HttpProbe(url=address)
    address, expect = REFUSED, {}
    if not isinstance(node, Mapping):
        return at.refuse("a URL, a mapping with url and expect, or off")
    for key, inner in at.pairs():
        if key.text == "url":
            address = readers.url("http")(inner)
        elif key.text == "expect":
            expect = {name.text: _expected(value) for name, value in inner.pairs("a mapping of JSON field to value")}
        else:
            at.unknown(key, ("url", "expect"))
    if node.get("url") is None:
        return at.refuse("url: http://...", "a mapping without url")
    return REFUSED if address is REFUSED or REFUSED in expect.values() else HttpProbe(url=address, expect=expect)


def _expected(at: Cursor) -> Any:
    """The value a JSON field must have, typed as YAML types it."""
    if isinstance(at.node, Scalar):
        try:
            if at.node.kind == "bool":
                return at.node.text.lower() in ("true", "yes", "on")
            if at.node.kind == "int":
                return int(at.node.text)
            if at.node.kind == "float":
                return float(at.node.text)
        except ValueError:
            return at.refuse("a plain decimal number, or text in quotes")
        if at.node.kind == "str":
            return at.node.text
    return at.refuse("text, a number, true or false")


_FILE = {"path": readers.path, "max_age": amounts.duration(1)}


@shaped(either(TEXT, OFF, _object({"path": TEXT, "max_age": amounts.DURATION}, "path")))
def file(at: Cursor) -> Any:
    """`off`, a path, or {path, max_age} -> FileBeat."""
    if is_off(at.node):
        return None
    if not isinstance(at.node, Mapping):
        path = readers.path(at)
        return REFUSED if path is REFUSED else FileBeat(path=path)
    found = members(at, _FILE, ("path",))
    if found is None:
        return REFUSED
    return FileBeat(path=found["path"], max_age_s=found.get("max_age", limits.FILE_BEAT_MAX_AGE_S))


_COMMAND: dict[str, readers.Reader] = {
    "command": readers.words,
    "interval": amounts.duration(1, 86_400),
    "timeout": amounts.duration(0.1, 3600),
    "retries": amounts.whole(1, 100),
}


@shaped(
    either(
        WORDS,
        OFF,
        _object(
            {
                "command": WORDS,
                "interval": amounts.DURATION,
                "timeout": amounts.DURATION,
                "retries": {"type": "integer", "minimum": 1, "maximum": 100},
            },
            "command",
        ),
    )
)
def command(at: Cursor) -> Any:
    """`off`, a command line, or {command, interval, timeout, retries} -> CommandProbe."""
    if is_off(at.node):
        return None
    if not isinstance(at.node, Mapping):
        words = readers.words(at)
        return REFUSED if words is REFUSED else CommandProbe(command=words)
    found = members(at, _COMMAND, ("command",))
    if found is None:
        return REFUSED
    return CommandProbe(
        command=found["command"],
        interval_s=found.get("interval", limits.COMMAND_PROBE_INTERVAL_S),
        timeout_s=found.get("timeout", limits.COMMAND_PROBE_TIMEOUT_S),
        retries=found.get("retries", limits.PROBE_STRIKES),
    )


def _regex(at: Cursor) -> Any:
    expected = f"a regular expression of at most {limits.LOG_PATTERN_MAX_CHARS} characters"
    value = scalar(at, expected, ("str", "int", "float"))
    if value is None:
        return REFUSED
    if not value or len(value) > limits.LOG_PATTERN_MAX_CHARS:
        return at.refuse(expected, "" if value else "empty text")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of constructs that a later Python may read otherwise
            matches_nothing = re.compile(value).match("") is not None
    except (re.error, RecursionError, OverflowError) as error:
        return at.refuse("a regular expression", f"{show(value)} ({error})")
    return at.refuse("an expression that does not match every line") if matches_nothing else value


def _then(at: Cursor) -> Any:
    expected = "degraded or failing"
    value = scalar(at, expected, ("str",))
    if value is None:
        return REFUSED
    known = ("degraded", "failing")
    return value if value in known else at.refuse(expected, meant=nearest(value, known))


_PATTERN: dict[str, readers.Reader] = {
    "pattern": _regex,
    "then": _then,
    "count": amounts.whole(1, 1_000_000),
    "within": amounts.duration(1, 86_400),
}
_PATTERN_SHAPE = either(
    TEXT,
    _object(
        {
            "pattern": TEXT,
            "then": {"enum": ["degraded", "failing"]},
            "count": {"type": "integer", "minimum": 1},
            "within": amounts.DURATION,
        },
        "pattern",
    ),
)
_PATTERNS_SHAPE = list_of(_PATTERN_SHAPE, limits.LOG_PATTERNS_MAX)


def _patterns(at: Cursor) -> Any:
    if not isinstance(at.node, Sequence) or len(at.node.items) > limits.LOG_PATTERNS_MAX:
        return at.refuse(f"a list of at most {limits.LOG_PATTERNS_MAX} regular expressions")
    found = [_pattern(at.child(str(place), item)) for place, item in enumerate(at.node.items)]
    return REFUSED if REFUSED in found else tuple(found)


def _pattern(at: Cursor) -> Any:
    if not isinstance(at.node, Mapping):
        value = _regex(at)
        return REFUSED if value is REFUSED else LogPattern(pattern=value)
    found = members(at, _PATTERN, ("pattern",))
    if found is None:
        return REFUSED
    return LogPattern(
        pattern=found["pattern"],
        then=found.get("then", "degraded"),
        count=found.get("count", 1),
        within_s=found.get("within", limits.LOG_PATTERN_WITHIN_S),
    )


_LOG: dict[str, readers.Reader] = {"silence": amounts.duration(1, off=True), "patterns": _patterns}


@shaped(either(_PATTERNS_SHAPE, OFF, _object({"silence": either(amounts.DURATION, OFF), "patterns": _PATTERNS_SHAPE})))
def log(at: Cursor) -> Any:
    """`off`, a list of expressions, or {silence, patterns} -> LogWatch."""
    if is_off(at.node):
        return None
    if isinstance(at.node, Sequence):
        patterns = _patterns(at)
        return REFUSED if patterns is REFUSED else LogWatch(patterns=patterns)
    if not isinstance(at.node, Mapping):
        return at.refuse("a mapping with silence and patterns, a list of regular expressions, or off")
    found = members(at, _LOG)
    if found is None:
        return REFUSED
    if not any(found.values()):
        return at.refuse("silence, patterns, or both", "neither of them")
    return LogWatch(silence_s=found.get("silence"), patterns=found.get("patterns", ()))


_PUSH = {"every": amounts.duration(1), "grace": amounts.duration(0)}


@shaped(either(amounts.DURATION, OFF, _object({"every": amounts.DURATION, "grace": amounts.DURATION}, "every")))
def push(at: Cursor) -> Any:
    """`off`, a duration, or {every, grace} -> PushBeat."""
    if is_off(at.node):
        return None
    if not isinstance(at.node, Mapping):
        every_s = _PUSH["every"](at)
        return REFUSED if every_s is REFUSED else PushBeat(every_s=every_s)
    found = members(at, _PUSH, ("every",))
    if found is None:
        return REFUSED
    return PushBeat(every_s=found["every"], grace_s=found.get("grace", limits.PUSH_GRACE_S))


_INTERVAL = {"interval": amounts.duration(1, 86_400)}


def _function(at: Cursor) -> Any:
    """How often the recipe's own question is asked, in seconds; None for off."""
    if is_off(at.node):
        return None
    if is_on(at.node):
        return limits.FUNCTION_INTERVAL_S
    if not isinstance(at.node, Mapping):
        return at.refuse("on, off, or {interval: 60s}")
    found = members(at, _INTERVAL)
    return REFUSED if found is None else found.get("interval", limits.FUNCTION_INTERVAL_S)


function = Shaped(_function, either(OFF, {"enum": ["on", True]}, _object({"interval": amounts.DURATION})))
