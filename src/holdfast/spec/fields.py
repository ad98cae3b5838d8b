"""The keys of an agent, in one table: how each is read, its default, and why that default.

Invariant: a key that is not in this table is an error, and every key has exactly one default. Called by `layers.py`
(reading), `resolve.py` (defaults), `explain.py` (what is in force and why); the reference page is checked against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast import limits
from holdfast.spec import readers
from holdfast.spec.document import Mapping, Scalar
from holdfast.spec.model import HttpProbe
from holdfast.spec.readers import REFUSED, Cursor, Reader
from holdfast.spec.recipe import Default, Path

NOT_YET = "nothing: not available in this version"


def probe(at: Cursor) -> Any:
    """`off` -> None; a URL, or {url, expect} -> HttpProbe."""
    node = at.node
    if isinstance(node, Scalar):
        if node.text.lower() in ("off", "none") or (node.kind == "bool" and node.text.lower() in ("no", "false")):
            return None
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


@dataclass(frozen=True, slots=True)
class Field:
    """One key. `unit`: how `--explain` prints it; `each`: the key is a mapping with names of the user's choice."""

    read: Reader
    default: Any
    why: str
    unit: str = ""
    each: bool = False


FIELDS: dict[Path, Field] = {
    ("recipe",): Field(readers.text, "process", "any program that runs in the foreground"),
    ("template",): Field(readers.text, None, "no template"),
    ("replicas",): Field(readers.whole(1, 1000), None, "one agent with the plain name"),
    ("command",): Field(readers.words, None, "a recipe may give it, else it is required"),
    ("working_dir",): Field(readers.path, None, "the directory of the file"),
    ("env",): Field(readers.env_value, None, "a clean environment", each=True),
    ("env_file",): Field(readers.paths, (), "none"),
    ("user",): Field(readers.user, None, "chosen at start; see the guide on users"),
    ("priority",): Field(
        readers.whole(0, limits.PRIORITY_MAX), limits.PRIORITY_DEFAULT, "the middle; larger is kept longer"
    ),
    ("labels",): Field(readers.label_value, None, "none", each=True),
    ("once",): Field(readers.switch, False, "an agent runs for ever; exit 0 is followed by a restart"),
    ("notify",): Field(readers.notify, True, "beats are optional; the socket costs nothing"),
    ("limits", "memory"): Field(readers.memory, None, "no limit", "bytes"),
    ("limits", "cpus"): Field(readers.cpus, None, "no limit"),
    ("limits", "pids"): Field(readers.count(1, 4_194_304), None, "no limit"),
    ("limits", "nofile"): Field(readers.count(16, 1_073_741_816), None, "what the system gives"),
    ("health", "http"): Field(probe, None, "process level only"),
    ("health", "interval"): Field(
        readers.duration(0.1, 86_400), limits.PROBE_INTERVAL_S, "a hung agent is noticed within seconds", "s"
    ),
    ("health", "timeout"): Field(
        readers.duration(0.01, 3600), limits.PROBE_TIMEOUT_S, "local answers take milliseconds", "s"
    ),
    ("health", "retries"): Field(readers.whole(1, 100), limits.PROBE_STRIKES, "one slow answer is no illness"),
    ("health", "start_period"): Field(
        readers.duration(0), limits.START_PERIOD_S, "stretched while the agent burns CPU", "s"
    ),
    ("stop", "signal"): Field(readers.stop_signal, "TERM", "what programs expect"),
    ("stop", "grace"): Field(readers.duration(0), limits.STOP_GRACE_S, "then the whole tree is killed", "s"),
    ("stop", "hung_grace"): Field(
        readers.duration(0), limits.HUNG_GRACE_S, "a hung agent rarely answers the signal", "s"
    ),
    ("restart", "backoff"): Field(
        readers.durations(1, 10), limits.RESTART_BACKOFF_S, "the first restart is free; then the next tier", "s"
    ),
    ("restart", "window"): Field(
        readers.duration(1), limits.RESTART_WINDOW_S, "older failures say nothing about the present cause", "s"
    ),
    ("restart", "spacing"): Field(readers.duration(0), 0.0, "a recipe may need more", "s"),
    ("restart", "retry"): Field(
        readers.duration(1, limits.QUIET_TRY_MAX_S), limits.QUIET_TRY_FIRST_S, "doubles up to one hour", "s"
    ),
    ("exit_codes",): Field(readers.exit_meaning, None, "the usual meanings", each=True),
}
RESERVED: frozenset[Path] = frozenset(
    (("state",), ("probation",), ("secrets",), ("llm",), ("schedules",), ("health", "beat"), ("restart", "at"))
)
GROUPS: frozenset[str] = frozenset(path[0] for path in FIELDS if len(path) == 2)
NOT_IN_DEFAULTS: frozenset[str] = frozenset(("template", "replicas", "command"))
NOT_IN_TEMPLATES: frozenset[str] = frozenset(("template", "replicas"))

BUILT_IN: dict[Path, Default] = {
    path: Default(one.default, one.why)
    for path, one in FIELDS.items()
    if not one.each and path[0] not in ("template", "replicas")
}
