"""One layer of keys (the defaults, a template, an agent) as flat settings: path of the key -> value with its origin.

Invariant: a layer is read whole, with every mistake in it noted under its own name, whether an agent uses it or not.
Called by `load.py`; put on top of each other by `resolve.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.spec import amounts, readers
from holdfast.spec.document import Mapping
from holdfast.spec.fields import FIELDS, GROUPS, RESERVED, SWITCHED_OFF, later
from holdfast.spec.readers import Cursor, Shaped, is_off
from holdfast.spec.recipe import Path, RecipeBook, RecipeForm


@dataclass(frozen=True, slots=True)
class Setting:
    """A value with where it comes from. `line` 0: not from a file. `field`: its full name for messages."""

    value: Any
    origin: str
    line: int = 0
    field: str = ""
    why: str = ""
    file: str = ""


Layer = dict[Path, Setting]
OPTION_READERS: dict[str, Shaped] = {
    "path": readers.path,
    "port": amounts.whole(1, 65_535),
    "text": readers.text,
    "words": readers.texts,
}


@dataclass(frozen=True, slots=True)
class LayerReader:
    """Reads layers of one file. `where` is added to each origin: "", " (defaults)", " (template worker)"."""

    book: RecipeBook
    where: str = ""
    excluded: frozenset[str] = frozenset()  # keys that this kind of layer may not have

    def read(self, at: Cursor) -> Layer:
        layer: Layer = {}
        known = {path[0] for path in FIELDS} - self.excluded
        for key, inner in at.pairs("a mapping of keys such as command"):
            name = key.text
            form = self.book.find(name)
            if name in self.excluded:
                inner.refuse("this key in an agent, not here", f"the key {name}")
            elif (name,) in RESERVED:
                inner.refuse(later(RESERVED[(name,)]), f"the reserved key {name}")
            elif name in GROUPS:
                self._group(layer, name, inner)
            elif (name,) in FIELDS:
                self._field(layer, (name,), inner)
            elif form is not None and form.options:
                self._block(layer, form, inner)
            else:
                at.unknown(key, known | {one for one in self.book.names() if _has_options(self.book, one)})
        return layer

    def _put(self, layer: Layer, path: Path, at: Cursor, value: Any) -> None:
        origin = f"{at.problems.file}:{at.node.line}{self.where}"
        layer[path] = Setting(value, origin, at.node.line, at.field, file=at.problems.file)

    def _field(self, layer: Layer, path: Path, at: Cursor) -> None:
        one = FIELDS[path]
        if not one.each:
            self._put(layer, path, at, one.read(at))
            return
        for key, inner in at.pairs("a mapping of names to text"):
            self._put(layer, (*path, key.text), inner, one.read(inner))

    def _group(self, layer: Layer, name: str, at: Cursor) -> None:
        members = sorted(path[1] for path in FIELDS if path[0] == name and len(path) == 2)
        if name in SWITCHED_OFF and is_off(at.node):
            for path, value in SWITCHED_OFF[name].items():
                self._put(layer, path, at, value)
            return
        or_off = ", or off" if name in SWITCHED_OFF else ""
        for key, inner in at.pairs(f"a mapping with {', '.join(members)}{or_off}"):
            path = (name, key.text)
            if path in FIELDS:
                self._field(layer, path, inner)
            elif path in RESERVED:
                inner.refuse(later(RESERVED[path]), f"the reserved key {key.text}")
            else:
                at.unknown(key, members)

    def _block(self, layer: Layer, form: RecipeForm, at: Cursor) -> None:
        options = {one.name: one for one in form.options}
        if not isinstance(at.node, Mapping):
            at.refuse(f"a mapping with {', '.join(sorted(options))}")
            return
        for key, inner in at.pairs():
            if key.text in options:
                value = OPTION_READERS[options[key.text].kind](inner)
                self._put(layer, (form.name, key.text), inner, value)
            else:
                at.unknown(key, options)


def _has_options(book: RecipeBook, name: str) -> bool:
    form = book.find(name)
    return form is not None and bool(form.options)
