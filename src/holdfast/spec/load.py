"""holdfast.yaml, strictly: a path in, the resolved fleet out, or every mistake of the file at once.

Invariant: any file whatever gives a FleetSpec or a HoldfastError (SPEC_NOT_FOUND, SPEC_UNREADABLE, SPEC_INVALID),
never another exception, and nothing is ever written. Called by the command line, the keeper's tests and `check`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from holdfast import errors, limits
from holdfast.spec import document, readers
from holdfast.spec.document import Mapping, Scalar, Sequence
from holdfast.spec.fields import NOT_IN_DEFAULTS, NOT_IN_TEMPLATES, NOT_YET
from holdfast.spec.layers import Layer, LayerReader
from holdfast.spec.model import AlertChannel, FleetSpec
from holdfast.spec.problems import Problem, Problems, nearest, one_line, show
from holdfast.spec.readers import REFUSED, Cursor
from holdfast.spec.recipe import RecipeBook
from holdfast.spec.resolve import Resolved, Resolver
from holdfast.spec.source import Unreadable, read_text

TOP_LEVEL = ("agents", "alerts", "defaults", "last_resort", "node", "templates", "version")
RESERVED_TOP_LEVEL = ("include", "journal", "llm", "secrets")
_CHANNELS = {"command": readers.words, "webhook": readers.url("https", "http"), "ntfy": readers.url("https", "http")}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that was read: the fleet, where each setting came from, and what is doubtful (warnings)."""

    file: str
    fleet: FleetSpec
    agents: tuple[Resolved, ...]
    warnings: tuple[Problem, ...] = ()


def load(path: FilePath | str, book: RecipeBook) -> FleetSpec:
    """The fleet of the file. Raises HoldfastError SPEC_*; exit code 2."""
    return read(path, book).fleet


def read(path: FilePath | str, book: RecipeBook) -> Loaded:
    """As `load`, with the origins."""
    file = str(path)
    try:
        absolute = os.path.abspath(file)
    except OSError as error:  # the current directory was removed
        raise errors.HoldfastError(errors.SPEC_UNREADABLE, file=one_line(file), reason=error.strerror) from None
    problems = Problems(file)
    text = _text(file, absolute, problems)
    root = None if problems else document.compose(text, problems)
    if root is None:
        problems.raise_if_any()
        raise AssertionError("no root and no problem")
    reading = _Reading(book, problems, FilePath(absolute).parent)
    loaded = reading.fleet(root, absolute)
    if any(one.severity == "error" for one in problems.found):
        problems.raise_if_any()
    return Loaded(file, loaded, tuple(reading.resolved), tuple(problems.sorted()))


def _text(file: str, absolute: str, problems: Problems) -> str:
    try:
        return read_text(file, limits.SPEC_MAX_BYTES)
    except Unreadable as error:
        if error.missing:
            raise errors.HoldfastError(errors.SPEC_NOT_FOUND, file=one_line(file)) from None
        if not error.line:
            inside = os.path.join(absolute, "holdfast.yaml")
            hint = f"; did you mean {file.rstrip('/')}/holdfast.yaml" if os.path.exists(inside) else ""
            raise errors.HoldfastError(
                errors.SPEC_UNREADABLE, file=one_line(file), reason=error.reason + hint
            ) from None
        problems.add(error.line, "file", error.reason, "UTF-8 text")
        return ""


class _Reading:
    """One reading of one document."""

    def __init__(self, book: RecipeBook, problems: Problems, base: FilePath) -> None:
        self.book = book
        self.problems = problems
        self.base = base
        self.resolver = Resolver(book, problems, base)
        self.resolved: list[Resolved] = []
        self.names: dict[str, int] = {}

    def fleet(self, root: Mapping, source: str) -> FleetSpec:
        top = Cursor(root, "", self.problems, self.base)
        parts: dict[str, Cursor] = {}
        for key, inner in top.pairs():
            if key.text in TOP_LEVEL:
                parts[key.text] = inner
            elif key.text in RESERVED_TOP_LEVEL:
                inner.refuse(NOT_YET, f"the reserved key {key.text}")
            elif not key.text.startswith("x-"):
                top.unknown(key, TOP_LEVEL)
        if "version" in parts:
            readers.whole(1, 1)(parts["version"])
        if "node" in parts:
            for key, inner in parts["node"].pairs():
                inner.refuse(NOT_YET, f"the key {show(key.text)}")
        defaults = self._defaults(parts.get("defaults"))
        templates = self._templates(parts.get("templates"))
        if "agents" in parts:
            self._agents(parts["agents"], defaults, templates)
        elif not self.problems:
            self.problems.add(1, "agents", "nothing", "a mapping of agents, such as agents: {NAME: {command: [...]}}")
        last_resort: Any = readers.words(parts["last_resort"]) if "last_resort" in parts else ()
        return FleetSpec(
            source=source,
            agents=tuple(one.spec for one in self.resolved),
            alerts=self._alerts(parts.get("alerts")),
            last_resort=() if last_resort is REFUSED else last_resort,
        )

    def _defaults(self, at: Cursor | None) -> Layer:
        reader = LayerReader(self.book, " (defaults)", NOT_IN_DEFAULTS)
        return reader.read(at) if at else {}

    def _templates(self, at: Cursor | None) -> dict[str, Layer]:
        found: dict[str, Layer] = {}
        for key, inner in at.pairs("a mapping of templates") if at else ():
            reader = LayerReader(self.book, f" (template {key.text})", NOT_IN_TEMPLATES)
            layer = reader.read(inner)
            if readers.label(at.child(key.text, key) if at else inner, key.text):
                found[key.text] = layer
        return found

    def _agents(self, at: Cursor, defaults: Layer, templates: dict[str, Layer]) -> None:
        for key, inner in at.pairs("a mapping of agents"):
            before = len(self.problems.found)
            own = LayerReader(self.book).read(inner)
            named = readers.label(at.child(key.text, key), key.text)
            layers = [defaults, *self._template(own, templates), own]
            if not isinstance(inner.node, Mapping) or not named:
                continue
            flawed = len(self.problems.found) > before
            for name in self._replicas(key, inner, layers):
                self._take(name, key, inner, layers, flawed)

    def _template(self, own: Layer, templates: dict[str, Layer]) -> list[Layer]:
        asked = own.get(("template",))
        if asked is None or asked.value is REFUSED:
            return []
        if asked.value in templates:
            return [templates[asked.value]]
        expected = f"one of {', '.join(sorted(templates))}" if templates else "a template under templates:"
        found = f"the template {show(asked.value)}"
        self.problems.add(asked.line, asked.field, found, expected, nearest(asked.value, templates))
        return []

    def _replicas(self, key: Scalar, at: Cursor, layers: list[Layer]) -> list[str]:
        asked = layers[-1].get(("replicas",))
        if asked is None or asked.value is REFUSED:
            return [key.text]
        names = [f"{key.text}-{number}" for number in range(1, asked.value + 1)]
        if len(names[-1]) > limits.AGENT_NAME_MAX:
            at.refuse(f"a name short enough for -{asked.value} behind it", f"the name {show(key.text)}")
            return []
        recipe = next((layer[("recipe",)] for layer in reversed(layers) if ("recipe",) in layer), None)
        form = self.book.find(str(recipe.value)) if recipe else None
        if form is not None and not form.replicable and asked.value > 1:
            expected = f"agents of their own: {form.name} agents cannot share a port and a state directory"
            self.problems.add(asked.line, asked.field, f"{asked.value} replicas", expected)
            return []
        return names

    def _take(self, name: str, key: Scalar, at: Cursor, layers: list[Layer], flawed: bool) -> None:
        if name in self.names:
            said = f"the agent {name} again (first in line {self.names[name]})"
            self.problems.add(key.line, at.field, said, "each name once, replicas included")
            return
        self.names[name] = key.line
        if len(self.names) > limits.AGENTS_MAX:
            self.problems.add(at.node.line, "agents", f"more than {limits.AGENTS_MAX} agents", "fewer on one machine")
            return
        found = self.resolver.agent(name, at.field, key.line, layers, flawed=flawed)
        if found is not None:
            self.resolved.append(found)

    def _alerts(self, at: Cursor | None) -> tuple[AlertChannel, ...]:
        if at is None:
            return ()
        if not isinstance(at.node, Sequence):
            at.refuse("a list such as [{webhook: URL}]")
            return ()
        channels: list[AlertChannel] = []
        for index, node in enumerate(at.node.items):
            inner = at.child(str(index), node)
            if not isinstance(node, Mapping) or len(node.pairs) != 1:
                inner.refuse("one of command: [...], webhook: URL, ntfy: URL")
                continue
            for key, value in inner.pairs():
                if key.text not in _CHANNELS:
                    inner.unknown(key, _CHANNELS)
                    continue
                found = _CHANNELS[key.text](value)
                if found is not REFUSED:
                    channels.append(AlertChannel(**{key.text: found}))
        return tuple(channels)
