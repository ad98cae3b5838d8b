"""holdfast.yaml as a tree with line numbers: the part of YAML that a specification may use.

Anchors, aliases and merge keys work; tags, several documents, nesting beyond SPEC_MAX_DEPTH and alias bombs are
refused. Scalars keep their source text, so that 1.10 stays "1.10"; the YAML type is only kept to tell a user that
`yes` is no text. Invariant: any text gives a tree or problems, never another exception. Called by `load`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from holdfast import limits
from holdfast.spec.masking import mask_line
from holdfast.spec.problems import Problems, show

# libyaml where the wheel has it (ten times faster), else the same parser in Python.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers
_TAG = "tag:yaml.org,2002:"
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")


@dataclass(frozen=True, slots=True)
class Scalar:
    """`kind`: str bool int float null timestamp merge, by the rules of YAML 1.1; quoted text is always str."""

    text: str
    kind: str
    line: int
    weight: int = 1


@dataclass(slots=True)
class Sequence:
    items: list[Node]
    line: int
    weight: int = 1


@dataclass(slots=True)
class Mapping:
    """Keys are unique; merge keys are already merged in."""

    pairs: list[tuple[Scalar, Node]]
    line: int
    weight: int = 1

    def get(self, key: str) -> Node | None:
        return next((value for name, value in self.pairs if name.text == key), None)


Node = Scalar | Sequence | Mapping


class _Fatal(Exception):
    """The rest cannot be read; the problem is already noted."""


def compose(text: str, problems: Problems) -> Mapping | None:
    """The root mapping, or None with at least one problem noted."""
    for match in _UNPRINTABLE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        problems.add(line, "file", f"the character {ascii(match[0])[1:-1]}", "printable text")
        return None
    composer = _Composer(problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except _Fatal:
        return None
    except yaml.YAMLError as error:
        _syntax(text, error, problems)
        return None
    root = composer.root
    if isinstance(root, Mapping):
        return root
    if root is None or (isinstance(root, Scalar) and root.kind == "null"):
        problems.add(1, "file", "nothing", "a mapping with `agents:`")
    else:
        problems.add(root.line, "file", describe(root), "a mapping with `agents:`")
    return None


def describe(node: Node) -> str:
    """What was found, in words."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    words = {"bool": f"the boolean {node.text}", "null": "nothing", "timestamp": f"the date {node.text}"}
    words |= {"int": f"the number {node.text}", "float": f"the number {node.text}"}
    return words.get(node.kind) or show(node.text)


@dataclass(slots=True)
class _Frame:
    node: Sequence | Mapping
    anchor: str | None
    name: str
    key: Scalar | None = None
    skip: bool = False  # the pending key was refused: its value is dropped
    seen: dict[str, int] = field(default_factory=dict)


class _Composer:
    """Turns parser events into the tree, with an explicit stack: no recursion, so no depth can overflow it."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.root: Node | None = None
        self.stack: list[_Frame] = []
        self.anchors: dict[str, Node] = {}
        self.expanded = 0
        self.documents = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._fatal(line, "a second document", "one document in the file")
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._alias(event.anchor or "", line), line)
        elif isinstance(event, yaml.ScalarEvent):
            scalar = Scalar(event.value, self._kind(event, line), line)
            if event.anchor:
                self.anchors[event.anchor] = scalar
            self._add(scalar, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _path(self, last: str = "") -> str:
        names = [frame.name for frame in self.stack[1:]] + ([last] if last else [])
        return ".".join(names) or "file"

    def _fatal(self, line: int, found: str, expected: str) -> None:
        self.problems.add(line, self._path(), found, expected)
        raise _Fatal

    def _kind(self, event: yaml.ScalarEvent, line: int) -> str:
        if event.tag is not None and event.tag not in ("!", _TAG + "str"):
            self.problems.add(line, self._path(), f"the tag {show(event.tag)}", "a value without a tag")
        if event.tag is not None or not event.implicit[0]:
            return "str"
        text = event.value
        for tag, pattern in _RESOLVERS.get(text[:1], ()):
            if pattern.match(text):
                kind = str(tag).removeprefix(_TAG)
                return "str" if kind == "value" else kind
        return "str"

    def _alias(self, anchor: str, line: int) -> Node:
        if any(frame.anchor == anchor for frame in self.stack):
            self._fatal(line, f"the alias *{anchor} inside its own anchor", "an anchor that ends before its alias")
        if anchor not in self.anchors:
            self._fatal(line, f"the alias *{anchor}", f"an anchor &{anchor} above it")
        node = self.anchors[anchor]
        self._expand(node.weight, line)
        return node

    def _expand(self, weight: int, line: int) -> None:
        self.expanded += weight
        if self.expanded > limits.SPEC_MAX_ALIASES_EXPANDED:
            most = limits.SPEC_MAX_ALIASES_EXPANDED
            self._fatal(line, f"aliases that stand for more than {most} values", "fewer or smaller aliases")

    def _open(self, event: yaml.CollectionStartEvent, line: int) -> None:
        if len(self.stack) >= limits.SPEC_MAX_DEPTH:
            self.stack.clear()
            self._fatal(line, f"nesting deeper than {limits.SPEC_MAX_DEPTH} levels", "a flatter file")
        if event.tag not in (None, "!", _TAG + "map", _TAG + "seq"):
            self.problems.add(line, self._path(), f"the tag {show(event.tag)}", "a value without a tag")
        node: Sequence | Mapping
        node = Sequence([], line) if isinstance(event, yaml.SequenceStartEvent) else Mapping([], line)
        name = ""
        if self.stack:
            parent = self.stack[-1]
            if isinstance(parent.node, Sequence):
                name = str(len(parent.node.items))
            else:
                name = parent.key.text if parent.key else "?"
        self.stack.append(_Frame(node, event.anchor, name))

    def _close(self) -> None:
        frame = self.stack.pop()
        node = frame.node
        if isinstance(node, Mapping):
            self._merge(node, frame)
            node.weight = 1 + sum(1 + value.weight for _, value in node.pairs)
        else:
            node.weight = 1 + sum(item.weight for item in node.items)
        if frame.anchor:
            self.anchors[frame.anchor] = node
        self._add(node, node.line)

    def _add(self, node: Node, line: int) -> None:
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.key is None and not frame.skip:
            self._key(frame, node, line)
        else:
            if frame.key is not None:
                frame.node.pairs.append((frame.key, node))
            frame.key, frame.skip = None, False

    def _key(self, frame: _Frame, node: Node, line: int) -> None:
        frame.skip = True
        if not isinstance(node, Scalar):
            self.problems.add(line, self._path(), f"{describe(node)} as a key", "a word as a key")
        elif node.kind in ("bool", "null", "timestamp"):
            meant = f'"{node.text}"' if node.text else ""
            self.problems.add(line, self._path(node.text), f"{describe(node)} as a key", "a word, in quotes", meant)
        elif node.text in frame.seen and node.kind != "merge":
            first = frame.seen[node.text]
            self.problems.add(line, self._path(node.text), f"the key again (first in line {first})", "each key once")
        else:
            frame.skip = False
            frame.seen[node.text] = line
            frame.key = Scalar(node.text, node.kind, line)

    def _merge(self, node: Mapping, frame: _Frame) -> None:
        """`<<: *a` and `<<: [*a, *b]`: own keys win, then earlier mappings."""
        merges = [pair for pair in node.pairs if pair[0].kind == "merge"]
        if not merges:
            return
        own = [pair for pair in node.pairs if pair[0].kind != "merge"]
        seen = {key.text for key, _ in own}
        where = self._path(frame.name)
        for key, value in merges:
            for source in value.items if isinstance(value, Sequence) else [value]:
                if not isinstance(source, Mapping):
                    self.problems.add(key.line, where, f"{describe(source)} to merge", "a mapping such as <<: *name")
                    continue
                for name, inner in source.pairs:
                    if name.text not in seen:
                        seen.add(name.text)
                        self._expand(inner.weight, key.line)
                        own.append((name, inner))
        node.pairs = own


# What the parsers say -> what the user can do. Both parsers speak nearly the same words.
_ADVICE = (
    (("escape",), "\\\\ for one backslash, or single quotes"),
    (("quoted scalar",), "a closing quote"),
    (("flow",), "a comma, or the closing ] or }"),
    (("mapping values are not allowed",), "one `key: value` a line, equally indented, and text holding `: ` in quotes"),
    (("expected ':'", "simple key", "block mapping", "expected key"), "`key: value` lines, equally indented"),
    (("block collection", "block sequence", "'-' indicator", "sequence entries"), "`- item` lines, equally indented"),
    (("cannot start any token", "percent"), "text that begins with such a character in quotes"),
    (("block end", "block entry"), "lines of one mapping equally indented"),
    (("anchor", "alias"), "an anchor such as &name and its alias *name"),
    (("document start",), "lines of one mapping equally indented"),
)


def _syntax(text: str, error: yaml.YAMLError, problems: Problems) -> None:
    said = f"{getattr(error, 'context', '') or ''} {getattr(error, 'problem', '') or ''}"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if "quoted scalar" in said and "escape" not in said:
        mark = getattr(error, "context_mark", None) or mark  # where the quote was opened
    line = (mark.line if mark else 0) + 1
    lines = text.split("\n")
    source = lines[line - 1] if line <= len(lines) else ""
    tabbed = [number for number, one in enumerate(lines, 1) if "\t" in one[: len(one) - len(one.lstrip(" \t"))]]
    if line in tabbed:
        for number in tabbed:
            problems.add(number, "file", "a tab in the indentation", "spaces")
        return
    if mark and source[mark.column : mark.column + 1] == "\t":
        problems.add(line, "file", "a tab", "spaces")
        return
    advice = next((words for marks, words in _ADVICE if any(one in said for one in marks)), "valid YAML")
    found = show(mask_line(source.strip())) if source.strip() else "the end of the file"
    problems.add(line, "file", found, advice)
