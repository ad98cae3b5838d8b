"""The top level of holdfast.yaml and of what it includes: defaults, templates, agents and alerts into one fleet.

Defaults hold for the agents of their own file; templates are shared by all files. Invariant: every name stands once
in all files together, replicas included. Called by `load.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from holdfast import limits
from holdfast.spec import amounts, apart, depends, readers, sharing
from holdfast.spec.build import program
from holdfast.spec.document import Mapping, Scalar, Sequence
from holdfast.spec.fields import NOT_IN_DEFAULTS, NOT_IN_TEMPLATES, RESERVED, later
from holdfast.spec.include import Document
from holdfast.spec.layers import Layer, LayerReader
from holdfast.spec.model import AlertChannel, FleetSpec, Node, Scaling
from holdfast.spec.problems import Problems, nearest, show
from holdfast.spec.readers import REFUSED, Cursor, Reader
from holdfast.spec.recipe import RecipeBook
from holdfast.spec.resolve import Resolved, Resolver

TOP_LEVEL = ("agents", "alerts", "defaults", "include", "last_resort", "node", "templates", "version")
RESERVED_TOP_LEVEL = ("journal", "llm", "secrets")
_MAIN_ONLY = ("last_resort", "node")


def _own_command(at: Cursor) -> Any:
    """A command that Holdfast itself runs: a program named by a path is taken from the directory of the file."""
    words = readers.words(at)
    return words if words is REFUSED else program(words, str(at.base))


_CHANNELS: dict[str, Reader] = {
    "command": _own_command,
    "webhook": readers.url("https", "http"),
    "ntfy": readers.url("https", "http"),
}
Parts = dict[str, Cursor]


class Reading:
    """One reading of one main file with all it includes."""

    def __init__(self, book: RecipeBook, problems: Problems) -> None:
        self.book = book
        self.problems = problems
        self.resolver = Resolver(book, problems)
        self.resolved: list[Resolved] = []
        self.names: dict[str, tuple[str, int]] = {}  # every agent -> the file and line that declare it
        self.declared: dict[str, list[str]] = {}  # a name as written -> its replicas
        self.node_origins: dict[str, str] = {}  # a key of `node` -> the file and line that declare it

    def fleet(self, documents: list[Document], source: str) -> FleetSpec:
        """`documents`: the main file first. Mistakes are noted; what is returned is whole only without them."""
        parts = [self._parts(one) for one in documents]
        defaults = [self._defaults(one.get("defaults")) for one in parts]
        templates = self._templates([one["templates"] for one in parts if "templates" in one])
        main = parts[0]
        for one, layer in zip(parts, defaults, strict=True):
            if "agents" in one:
                self._agents(one["agents"], layer, templates)
        if "agents" not in main and "include" not in main and not self.problems:
            self.problems.add(1, "agents", "nothing", "a mapping of agents, such as agents: {NAME: {command: [...]}}")
        self.resolved = depends.settle(self.resolved, self.declared, self.problems)
        apart.check(self.resolved, self.problems)
        if "node" in main and isinstance(main["node"].node, Mapping):
            file = main["node"].problems.file
            self.node_origins = {key.text: f"{file}:{key.line}" for key, _ in main["node"].node.pairs}
        last_resort: Any = _own_command(main["last_resort"]) if "last_resort" in main else ()
        return FleetSpec(
            source=source,
            node=sharing.node(main["node"]) if "node" in main else Node(),
            agents=tuple(one.spec for one in self.resolved),
            alerts=tuple(channel for one in parts for channel in self._alerts(one.get("alerts"))),
            last_resort=() if last_resort is REFUSED else last_resort,
        )

    def _parts(self, one: Document) -> Parts:
        parts: Parts = {}
        for key, inner in one.top.pairs():
            if key.text in _MAIN_ONLY and not one.main:
                inner.refuse(f"this key in the main file, {self.problems.file}", f"the key {key.text}")
            elif key.text in TOP_LEVEL:
                parts[key.text] = inner
            elif key.text in RESERVED_TOP_LEVEL:
                inner.refuse(later(RESERVED[(key.text,)]), f"the reserved key {key.text}")
            elif not key.text.startswith("x-"):
                one.top.unknown(key, TOP_LEVEL)
        if "version" in parts:
            amounts.whole(1, 1)(parts["version"])
        return parts

    def _defaults(self, at: Cursor | None) -> Layer:
        reader = LayerReader(self.book, " (defaults)", NOT_IN_DEFAULTS)
        return reader.read(at) if at else {}

    def _templates(self, parts: list[Cursor]) -> dict[str, Layer]:
        found: dict[str, Layer] = {}
        places: dict[str, str] = {}
        for at in parts:
            for key, inner in at.pairs("a mapping of templates"):
                reader = LayerReader(self.book, f" (template {key.text})", NOT_IN_TEMPLATES)
                layer = reader.read(inner)
                if key.text in found:
                    said = f"the template {key.text} again (first in {places[key.text]})"
                    inner.refuse("each template once, in all files", said, line=key.line)
                elif readers.label(at.child(key.text, key), key.text):
                    found[key.text] = layer
                    places[key.text] = f"{at.problems.file}:{key.line}"
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
            for number, name in enumerate(self._replicas(key, inner, layers), 1):
                self._take(name, key, inner, [*layers[:-1], _numbered(own, key.text, number)], flawed)

    def _template(self, own: Layer, templates: dict[str, Layer]) -> list[Layer]:
        asked = own.get(("template",))
        if asked is None or asked.value is REFUSED:
            return []
        if asked.value in templates:
            return [templates[asked.value]]
        expected = f"one of {', '.join(sorted(templates))}" if templates else "a template under templates:"
        found = f"the template {show(asked.value)}"
        self.problems.add(asked.line, asked.field, found, expected, nearest(asked.value, templates), file=asked.file)
        return []

    def _replicas(self, key: Scalar, at: Cursor, layers: list[Layer]) -> list[str]:
        asked = layers[-1].get(("replicas",))
        if asked is None or asked.value is REFUSED:
            return [key.text]
        count = asked.value.most if isinstance(asked.value, sharing.Spread) else asked.value
        names = [f"{key.text}-{number}" for number in range(1, count + 1)]
        if len(names[-1]) > limits.AGENT_NAME_MAX:
            at.refuse(f"a name short enough for -{count} behind it", f"the name {show(key.text)}")
            return []
        recipe = next((layer[("recipe",)] for layer in reversed(layers) if ("recipe",) in layer), None)
        form = self.book.find(str(recipe.value)) if recipe else None
        if form is not None and not form.replicable and count > 1:
            expected = f"agents of their own: {form.name} agents cannot share a port and a state directory"
            self.problems.add(asked.line, asked.field, f"{count} replicas", expected, file=asked.file)
            return []
        return names

    def _take(self, name: str, key: Scalar, at: Cursor, layers: list[Layer], flawed: bool) -> None:
        file = at.problems.file
        if name in self.names:
            first, line = self.names[name]
            where = f"in line {line}" if first == file else f"in {first}:{line}"
            said = f"the agent {name} again (first {where})"
            at.refuse("each name once, replicas included", said, line=key.line)
            return
        self.names[name] = (file, key.line)
        self.declared.setdefault(key.text, []).append(name)
        if len(self.names) > limits.AGENTS_MAX:
            said = f"more than {limits.AGENTS_MAX} agents"
            if len(self.names) > limits.AGENTS_MAX + 1:
                return  # said once, of the first one too many
            self.problems.add(at.node.line, "agents", said, "fewer on one machine", file=file)
            return
        found = self.resolver.agent(name, at, key.line, layers, flawed=flawed)
        if found is not None:
            self.resolved.append(found)

    def _alerts(self, at: Cursor | None) -> list[AlertChannel]:
        if at is None:
            return []
        if not isinstance(at.node, Sequence):
            at.refuse("a list such as [{webhook: URL}]")
            return []
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
        return channels


def _numbered(own: Layer, group: str, number: int) -> Layer:
    """The agent's own layer, as that of one replica when they follow a queue."""
    asked = own.get(("replicas",))
    if asked is None or not isinstance(asked.value, sharing.Spread):
        return own
    spread = asked.value
    scaling = Scaling(
        group=group, number=number, least=spread.least, most=spread.most, per_queue_depth=spread.per_queue_depth
    )
    return own | {("replicas",): replace(asked, value=scaling)}
