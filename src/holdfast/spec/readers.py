"""Readers of single values: a node of the document in, a typed value or REFUSED (with the problem noted) out.

Invariant: what a reader returns is whole and safe to hand to the kernel (no NUL, valid UTF-8, within ARG limits);
a reader never raises. Each carries the JSON Schema of what it accepts, so that editors are told the same. Called by
`fields.py` (the table of agent keys), by `layers.py` and by `load.py`; numbers are in `amounts.py`, small mappings in
`blocks.py` and `watching.py`.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Table
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from holdfast import limits
from holdfast.spec.document import Mapping, Node, Scalar, Sequence, describe
from holdfast.spec.problems import Problems, nearest, show

REFUSED: Final = object()
Reader = Callable[["Cursor"], Any]
Shape = dict[str, Any]  # a JSON Schema (draft 2020-12)


@dataclass(frozen=True, slots=True)
class Shaped:
    """A reader with the schema of what it accepts. The schema may accept more, never less."""

    read: Reader
    shape: Shape

    def __call__(self, at: Cursor) -> Any:
        return self.read(at)


def shaped(shape: Shape) -> Callable[[Reader], Shaped]:
    return lambda read: Shaped(read, shape)


def either(*shapes: Shape) -> Shape:
    return {"anyOf": list(shapes)}


def list_of(item: Shape, most: int = 0) -> Shape:
    return {"type": "array", "items": item} | ({"maxItems": most} if most else {})


TEXT: Final[Shape] = {"type": "string"}
OFF: Final[Shape] = {"enum": ["off", False]}  # editors that read YAML 1.1 take `off` for false
WORDS: Final[Shape] = either(TEXT, {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1})

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBERED = {"1": "HUP", "2": "INT", "3": "QUIT", "9": "KILL", "10": "USR1", "12": "USR2", "15": "TERM"}
_SHELL_WORDS = frozenset(("&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1"))
STOP_SIGNALS = ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ALRM", "WINCH", "ABRT", "KILL")
EXIT_SIGNALS = (
    *("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM"),
    *("TERM", "XCPU", "XFSZ", "SYS"),
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A node with the name of its field and the collector: the only thing a reader needs."""

    node: Node
    field: str
    problems: Problems
    base: Path  # what relative paths are relative to: the directory of the file
    key: str = ""  # the last part of the field; names of the user's choice may hold dots

    def child(self, key: str, node: Node) -> Cursor:
        return Cursor(node, f"{self.field}.{key}" if self.field else key, self.problems, self.base, key)

    def refuse(self, expected: str, found: str = "", meant: str = "", line: int = 0) -> object:
        self.problems.add(line or self.node.line, self.field, found or describe(self.node), expected, meant)
        return REFUSED

    def pairs(self, expected: str = "a mapping") -> Iterator[tuple[Scalar, Cursor]]:
        """The pairs of a mapping; anything else is refused and gives none."""
        if not isinstance(self.node, Mapping):
            self.refuse(expected)
            return
        for key, value in self.node.pairs:
            yield key, self.child(key.text, value)

    def unknown(self, key: Scalar, known: Iterable[str]) -> None:
        names = sorted(known)
        at = self.child(key.text, key)
        at.refuse(f"one of {', '.join(names)}", f"the unknown key {show(key.text)}", nearest(key.text, names))


def is_off(node: Node) -> bool:
    """`off` or `none`, or what YAML takes for false."""
    if not isinstance(node, Scalar):
        return False
    return node.text.lower() in ("off", "none") or (node.kind == "bool" and node.text.lower() in ("no", "false"))


def is_on(node: Node) -> bool:
    """`on`, or what YAML takes for true."""
    return isinstance(node, Scalar) and (
        node.text.lower() == "on" or (node.kind == "bool" and node.text.lower() in ("yes", "true"))
    )


def members(at: Cursor, readers: Table[str, Reader], needed: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The keys of a small mapping, each read by its reader; None when anything was refused."""
    if not isinstance(at.node, Mapping):
        at.refuse(f"a mapping with {', '.join(readers)}")
        return None
    found: dict[str, Any] = {}
    whole = True
    for key, inner in at.pairs():
        if key.text in readers:
            found[key.text] = readers[key.text](inner)
        else:
            at.unknown(key, readers)
            whole = False
    for name in needed if whole else ():  # a slip may be the very key that is needed
        if at.node.get(name) is None:
            at.refuse(f"the key {name}", f"a mapping without {name}")
            whole = False
    return found if whole and REFUSED not in found.values() else None


def scalar(at: Cursor, expected: str, kinds: tuple[str, ...]) -> str | None:
    """The source text of a scalar of one of `kinds`, clean for the kernel; None after a refusal."""
    node = at.node
    if not isinstance(node, Scalar) or node.kind not in kinds:
        meant = ""
        if isinstance(node, Scalar) and expected in ("text", "a path") and node.kind != "null":
            meant = f'"{node.text}"'
        elif isinstance(node, Scalar) and kinds == ("int",) and re.fullmatch(r"[0-9]{1,9}", node.text):
            meant = node.text
        at.refuse(expected, meant=meant)
        return None
    if "\0" in node.text:
        at.refuse(expected, "a NUL character")
        return None
    if len(node.text.encode("utf-8", "surrogatepass")) > limits.ARGUMENT_MAX_BYTES:
        at.refuse(f"at most {limits.ARGUMENT_MAX_BYTES} bytes", "a longer text")
        return None
    if any("\ud800" <= char <= "\udfff" for char in node.text):
        at.refuse(expected, "half of a surrogate pair")
        return None
    return node.text


@shaped({"type": "string", "minLength": 1})
def text(at: Cursor) -> Any:
    """Text that is not empty."""
    value = scalar(at, "text", ("str",))
    if value == "":
        return at.refuse("text", "empty text")
    return REFUSED if value is None else value


@shaped({"type": ["string", "number"]})
def value_text(at: Cursor) -> Any:
    """Text, possibly empty; numbers keep their source text (env values, labels)."""
    value = scalar(at, "text", ("str", "int", "float"))
    return REFUSED if value is None else value


@shaped({"type": ["string", "number"]})
def env_value(at: Cursor) -> Any:
    """The value of an environment variable; its name is the key."""
    name = at.key
    if not _ENV_NAME.fullmatch(name):
        return at.refuse("a name of A-Z, a-z, 0-9 and _", f"the name {show(name)}")
    if name.startswith("HOLDFAST_") or name == "NOTIFY_SOCKET":
        return at.refuse("another name: Holdfast sets this one itself", f"the name {name}")
    return value_text(at)


@shaped({"type": ["string", "number"]})
def label_value(at: Cursor) -> Any:
    value = value_text(at)
    if value is not REFUSED and len(value) > 255:
        return at.refuse("at most 255 characters", "a longer text")
    return value


@shaped({"type": "boolean"})
def switch(at: Cursor) -> Any:
    """true or false."""
    node = at.node
    if isinstance(node, Scalar) and node.kind == "bool":
        return node.text.lower() in ("true", "yes", "on")
    meant = ""
    if isinstance(node, Scalar) and node.text.lower() in ("true", "yes", "on", "1", "false", "no", "off", "0"):
        meant = "true" if node.text.lower() in ("true", "yes", "on", "1") else "false"
    return at.refuse("true or false", meant=meant)


@shaped({"enum": [True, False, "none"]})
def notify(at: Cursor) -> Any:
    """true, false, or none."""
    if isinstance(at.node, Scalar) and at.node.text == "none":
        return False
    return switch(at)


@shaped(WORDS)
def words(at: Cursor) -> Any:
    """A command line: a list of words, or one text split like a shell would, without running a shell."""
    expected = "a list such as [python, loop.py], or one line of text"
    if isinstance(at.node, Sequence):
        items = [value_text(at.child(str(index), item)) for index, item in enumerate(at.node.items)]
        if REFUSED in items:
            return REFUSED
        if not items or not items[0]:
            return at.refuse(expected, "no program to run")
        return tuple(items)
    line = scalar(at, expected, ("str",))
    if line is None:
        return REFUSED
    try:
        parts = shlex.split(line)
    except ValueError:
        return at.refuse("a closing quote in the command")
    if not parts or not parts[0]:
        return at.refuse(expected, "no program to run")
    if _SHELL_WORDS.intersection(parts):
        return at.refuse("one program: no shell reads this line", meant=f"[sh, -c, {show(line)}]")
    return tuple(parts)


@shaped(either({"type": ["string", "number"]}, list_of({"type": ["string", "number"]})))
def texts(at: Cursor) -> Any:
    """A list of texts, or one text alone; none may be empty."""
    items = at.node.items if isinstance(at.node, Sequence) else [at.node]
    found = [value_text(at.child(str(index), item)) for index, item in enumerate(items)]
    return REFUSED if REFUSED in found else tuple(found)


@shaped(TEXT)
def path(at: Cursor) -> Any:
    """An absolute path; `~/` is the home of who reads the file, the rest is relative to the file's directory."""
    value = scalar(at, "a path", ("str",))
    if value is None:
        return REFUSED
    if not value or len(value.encode()) > 4095:
        return at.refuse("a path of at most 4095 bytes", "" if value else "empty text")
    if value == "~" or value.startswith("~/"):
        value = os.path.expanduser(value)
    return os.path.normpath(at.base / value)


@shaped(either(TEXT, list_of(TEXT)))
def paths(at: Cursor) -> Any:
    """One path or a list of them."""
    if not isinstance(at.node, Sequence):
        one = path(at)
        return REFUSED if one is REFUSED else (one,)
    found = [path(at.child(str(index), item)) for index, item in enumerate(at.node.items)]
    return REFUSED if REFUSED in found else tuple(found)


@shaped({"type": ["string", "integer"]})
def user(at: Cursor) -> Any:
    """A user's name or number."""
    expected = "the name or number of a user"
    value = scalar(at, expected, ("str", "int"))
    if value is None:
        return REFUSED
    return value if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?", value) else at.refuse(expected)


@shaped({"enum": [*STOP_SIGNALS, *(f"SIG{name}" for name in STOP_SIGNALS)]})
def stop_signal(at: Cursor) -> Any:
    """A signal's name without SIG."""
    expected = f"one of {', '.join(STOP_SIGNALS)}"
    value = scalar(at, expected, ("str", "int"))
    if value is None:
        return REFUSED
    bare = value.removeprefix("SIG")
    if bare.isascii() and bare.isdigit():
        return at.refuse(expected, meant=_NUMBERED.get(bare, ""))
    return bare if bare in STOP_SIGNALS else at.refuse(expected, meant=nearest(bare, STOP_SIGNALS))


@shaped(TEXT)
def exit_meaning(at: Cursor) -> Any:
    """The meaning of an exit code or signal; the code is the key."""
    code = at.key
    known = {f"SIG{name}" for name in EXIT_SIGNALS}
    if (
        not (code.isascii() and code.isdigit() and str(int(code[:9])) == code and int(code) <= 255)
        and code not in known
    ):
        meant = nearest(code if code.upper().startswith("SIG") else f"SIG{code}", known)
        return at.refuse("an exit code from 0 to 255 or a signal such as SIGABRT", show(code), meant)
    return text(at)


def label(at: Cursor, value: str) -> bool:
    """Whether `value` is a name for agents and templates (a DNS label); the refusal is noted."""
    if _LABEL.fullmatch(value):
        return True
    meant = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[: limits.AGENT_NAME_MAX].strip("-")
    at.refuse(f"a name of a-z, 0-9 and -, at most {limits.AGENT_NAME_MAX} characters", f"the name {show(value)}", meant)
    return False


def url(*schemes: str) -> Shaped:
    """A URL with one of `schemes`, a host, and no control characters."""
    expected = f"a URL such as {schemes[0]}://HOST:PORT/PATH"

    def read(at: Cursor) -> Any:
        value = scalar(at, expected, ("str",))
        if value is None:
            return REFUSED
        try:
            parts = urlsplit(value)
            good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or not value.isascii() or not value.isprintable() or " " in value:
            # The text itself is not shown: the path of a webhook is a secret.
            scheme = value.partition("://")[0]
            found = "a URL that cannot be read" if scheme in schemes else f"a URL that begins with {show(scheme)}"
            found = found if "://" in value else show(value)
            return at.refuse(expected, found, f"{schemes[0]}://{value}" if re.match(r"[\w.-]+:\d+", value) else "")
        return value

    return Shaped(read, {"type": "string", "format": "uri"})
