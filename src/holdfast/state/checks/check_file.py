"""The checks of single files: a database that is whole, settings that can be read.

Invariant: only certain damage is called a fault; what cannot be told is said as such, and what is odd but would be read
by its program is none. Reads only, but for what SQLite itself needs beside a database with a write-ahead log. Called by
validate.py, in its child.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import msgspec

from holdfast import limits
from holdfast.spec.validator import Kind
from holdfast.state.checks import json5
from holdfast.state.databases.sqlite_header import HEADER_BYTES, parse

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# Said by quick_check of rows that a program stored against its own rules: no damage, and no restore would help.
_NOT_DAMAGE = re.compile(
    r"(?i)^(NULL value in|CHECK constraint failed|NUMERIC value in|TEXT value in|non-unique|no such)"
)


def look(path: str, kind: Kind) -> Iterator[list[str]]:
    """What is said of one file: ["look" | "fault" | "unchecked" | "done", path, ...]; nothing when it is no such."""
    try:
        if kind is Kind.SQLITE and not _is_database(path):
            if size(f"{path}-wal") and _is_log(f"{path}-wal"):
                yield ["fault", path, kind, "it is no database any more, but its write-ahead log lies beside it"]
            return
        yield ["look", path]
        trouble, certain = _CHECKS[kind](path)
    except OSError as e:
        trouble, certain = e.strerror or str(e), False
    if trouble:
        yield ["fault", path, kind, trouble] if certain else ["unchecked", path, trouble]
    yield ["done", path]


def _is_database(path: str) -> bool:
    with open(path, "rb") as file:
        return parse(file.read(HEADER_BYTES)) is not None


def _is_log(path: str) -> bool:
    """Whether it begins like a write-ahead log of SQLite's."""
    with open(path, "rb") as file:
        return file.read(4) in (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")


def _named_database(path: str) -> tuple[str, bool]:
    if not size(path):
        return "it is empty", True
    return _database(path) if _is_database(path) else ("it is no database any more", True)


def _database(path: str) -> tuple[str, bool]:
    """(what is wrong, whether that is certain). Without a log beside it nobody writes it, and nothing need be made."""
    if size(f"{path}-journal"):
        return "its last change was not finished; its program will take that back", False
    mode = "mode=ro" if size(f"{path}-wal") else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?{mode}", uri=True, timeout=1.0)) as base:
            rows = [str(row[0]) for row in base.execute("PRAGMA quick_check(20)")]
    except sqlite3.Error as e:
        code = getattr(e, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return str(e), code in _CORRUPT
    wrong = [row for row in rows if row != "ok" and not _NOT_DAMAGE.match(row)]
    return (wrong[0].replace("\n", " ")[: limits.VALIDATE_REASON_MAX], True) if wrong else ("", True)


def size(path: str) -> int:
    """0 when it is not there."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _json(path: str) -> tuple[str, bool]:
    if size(path) > limits.VALIDATE_JSON_MAX_BYTES:
        return "too large to be read whole", False
    with open(path, "rb") as file:
        return _parsed(file.read())


def _json_lines(path: str) -> tuple[str, bool]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") or not line.strip():
                continue
            trouble, _certain = _parsed(line)
            if trouble:
                return f"line {number}: {trouble}", True
    return "", True


def _parsed(data: bytes) -> tuple[str, bool]:
    try:
        msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        return ("it is empty" if not data else str(e)), True
    except RecursionError:
        return "nested too deeply to be read", False
    return "", True


def _json5(path: str) -> tuple[str, bool]:
    """One object, as a program's settings are."""
    if size(path) > limits.VALIDATE_TEXT_MAX_BYTES:
        return "too large to be read whole", False
    with open(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "it is no text", True
    try:
        found = json5.check(text)
    except json5.NotJson5 as e:
        return str(e), True
    return ("", True) if found == "object" else ("it holds no settings", True)


def _json_any(path: str) -> tuple[str, bool]:
    """Nobody said what its program takes: whatever some reader would take is no damage, nor is an empty file."""
    if not size(path):
        return "it is empty, and nothing tells whether it should be", False
    found = _json(path)
    if not found[0] or not found[1] or size(path) > limits.VALIDATE_TEXT_MAX_BYTES:
        return found
    with open(path, "rb") as file:
        data = file.read()
    lines = [line for line in data.splitlines() if line.strip()]
    if len(lines) > 1 and not any(_parsed(line)[0] for line in lines[:-1]):
        return "", True
    try:
        json5.check(data.decode())
    except (json5.NotJson5, UnicodeDecodeError):
        return found
    return "", True


def _yaml(path: str) -> tuple[str, bool]:
    """A mapping. Only its form is read: nothing is built from it, so nothing in it can grow."""
    import yaml

    if size(path) > limits.VALIDATE_TEXT_MAX_BYTES:
        return "too large to be read whole", False
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        with open(path, "rb") as file:
            node = yaml.compose(file, Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        mark = getattr(e, "problem_mark", None)
        what = str(getattr(e, "problem", None) or "it is no text")
        return f"{what} in line {mark.line + 1}" if mark is not None else what, True
    except RecursionError:
        return "nested too deeply to be read", False
    return ("", True) if isinstance(node, yaml.MappingNode) else ("it holds no settings", True)


_CHECKS = {
    Kind.SQLITE: _database,
    Kind.DATABASE: _named_database,
    Kind.JSON: _json,
    Kind.JSON5: _json5,
    Kind.JSON_ANY: _json_any,
    Kind.JSON_LINES: _json_lines,
    Kind.YAML: _yaml,
}
