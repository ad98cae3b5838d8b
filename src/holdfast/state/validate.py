"""Whether a tree holds what an agent can start with: databases that are whole, JSON that can be read, files that exist.

Invariant: looks with the agent's rights, in a process of its own that is ended when its time is over, and changes
nothing but what SQLite itself needs beside a database with a write-ahead log. Only certain damage is a fault: what
could not be looked at is said separately, and never a reason to restore. Called by the worker for a live tree (its
agent stands still) or a fresh one.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from enum import StrEnum
from select import select
from urllib.parse import quote

import msgspec
from msgspec import Struct

from holdfast import limits
from holdfast.state import asides, forking
from holdfast.state.exclude import Exclusion
from holdfast.state.model import Rights
from holdfast.state.sqlite_header import HEADER_BYTES, parse

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# Said by quick_check of rows that a program stored against its own rules: no damage, and no restore would help.
_NOT_DAMAGE = re.compile(
    r"(?i)^(NULL value in|CHECK constraint failed|NUMERIC value in|TEXT value in|non-unique|no such)"
)


class Kind(StrEnum):
    """What is asked of a file."""

    SQLITE = "sqlite"  # each database among them passes PRAGMA quick_check
    JSON = "json"  # can be parsed
    JSON_LINES = "json-lines"  # each line can be parsed; the last one may be cut off
    PRESENT = "present"  # at least one such file exists, and is not empty


class Validator(Struct, frozen=True, kw_only=True):
    """One check, as a recipe names it. `path`: a pattern as in `state.exclude`, seen from each tree."""

    kind: Kind
    path: str


class Fault(Struct, frozen=True, kw_only=True):
    """Damage that is certain. `path`: absolute."""

    path: str
    kind: Kind
    reason: str


class Findings(Struct, frozen=True, kw_only=True):
    """`unchecked`: path and why nothing is known of it. `looked`: files that were checked."""

    faults: list[Fault]
    unchecked: list[str]
    looked: int


DATABASES = (Validator(kind=Kind.SQLITE, path="*"),)  # of every agent: whatever is a database is whole


def check(
    trees: Iterable[str], validators: Iterable[Validator] = DATABASES, *, rights: Rights | None = None
) -> list[Fault]:
    """The damage found in these trees (directories or single files). See `examine`."""
    return examine(trees, validators, rights=rights).faults


def examine(
    trees: Iterable[str],
    validators: Iterable[Validator] = DATABASES,
    *,
    rights: Rights | None = None,
    timeout_s: float = limits.VALIDATE_MAX_S,
) -> Findings:
    """Look at each file once, in a child process. What it had found when its time was over counts."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(list(trees), list(validators), rights, writable)
    os.close(writable)
    try:
        lines, ended = _gather(readable, time.monotonic() + timeout_s)
    finally:
        os.close(readable)
        forking.end(child)
    return _findings(lines, ended)


def _in_child(trees: list[str], validators: list[Validator], rights: Rights | None, out: int) -> None:
    status = 1
    try:
        (out,) = forking.keep_only(out)
        forking.plain_signals()
        forking.become(rights)
        for line in _look(trees, validators):
            os.write(out, json.dumps(line).encode() + b"\n")
        os.write(out, b'["end"]\n')
        status = 0
    finally:
        os._exit(status)


def _gather(readable: int, deadline_mono: float) -> tuple[list[list[str]], bool]:
    """(complete lines, whether the child came to its end)."""
    data = bytearray()
    while (left_s := deadline_mono - time.monotonic()) > 0 and len(data) < limits.VALIDATE_ANSWER_MAX_BYTES:
        ready, _, _ = select([readable], [], [], left_s)
        piece = os.read(readable, 65_536) if ready else b""
        if not piece:
            break
        data += piece
    lines = [json.loads(line) for line in bytes(data).split(b"\n")[:-1]]
    return [line for line in lines if line[0] != "end"], ["end"] in lines


def _findings(lines: list[list[str]], ended: bool) -> Findings:
    faults = [Fault(path=line[1], kind=Kind(line[2]), reason=line[3]) for line in lines if line[0] == "fault"]
    unchecked = [f"{line[1]}: {line[2]}" for line in lines if line[0] == "unchecked"]
    began = [line[1] for line in lines if line[0] == "look"]
    done = [line[1] for line in lines if line[0] == "done"]
    if not ended:
        unchecked.append(f"{began[-1]}: not done in time" if len(began) > len(done) else "the rest: not done in time")
    return Findings(faults=faults, unchecked=unchecked, looked=len(done))


def _look(trees: list[str], validators: list[Validator]) -> Iterator[list[str]]:
    asked = [(validator, Exclusion([validator.path])) for validator in validators]
    present = {validator.path for validator in validators if validator.kind is Kind.PRESENT}
    for tree in trees:
        for path, below in _files(tree):
            for validator, pattern in asked:
                if not pattern.leaves_out(below, directory=False):
                    continue
                if validator.kind is Kind.PRESENT:
                    if os.path.getsize(path):
                        present.discard(validator.path)
                    continue
                yield from _one(path, validator.kind)
    for wanted in sorted(present):
        yield ["fault", os.path.join(trees[0], wanted) if trees else wanted, Kind.PRESENT, "missing or empty"]


def _files(tree: str) -> Iterator[tuple[str, bytes]]:
    """Regular files and their path below the tree; a file is its own tree."""
    if not os.path.isdir(tree) or os.path.islink(tree):
        if os.path.isfile(tree) and not os.path.islink(tree):
            yield tree, os.fsencode(os.path.basename(tree))
        return
    for directory, names, files in os.walk(tree):
        names[:] = [name for name in names if not asides.is_aside(os.fsencode(name))]
        for name in files:
            path = os.path.join(directory, name)
            try:
                regular = stat.S_ISREG(os.lstat(path).st_mode)
            except OSError:
                continue
            if regular and not asides.is_aside(os.fsencode(name)):
                yield path, os.fsencode(os.path.relpath(path, tree))


def _one(path: str, kind: Kind) -> Iterator[list[str]]:
    try:
        if kind is Kind.SQLITE:
            with open(path, "rb") as file:
                if parse(file.read(HEADER_BYTES)) is None:
                    return
        yield ["look", path]
        trouble, certain = _CHECKS[kind](path)
    except OSError as e:
        trouble, certain = e.strerror or str(e), False
    if trouble:
        yield ["fault", path, kind, trouble] if certain else ["unchecked", path, trouble]
    yield ["done", path]


def _database(path: str) -> tuple[str, bool]:
    """(what is wrong, whether that is certain). Without a log beside it nobody writes it, and nothing need be made."""
    if _size(f"{path}-journal"):
        return "its last change was not finished; its program will take that back", False
    mode = "mode=ro" if _size(f"{path}-wal") else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(os.fsencode(path))}?{mode}", uri=True, timeout=1.0)) as base:
            rows = [str(row[0]) for row in base.execute("PRAGMA quick_check(20)")]
    except sqlite3.Error as e:
        code = getattr(e, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        return str(e), code in _CORRUPT
    wrong = [row for row in rows if row != "ok" and not _NOT_DAMAGE.match(row)]
    return (wrong[0].replace("\n", " ")[: limits.VALIDATE_REASON_MAX], True) if wrong else ("", True)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _json(path: str) -> tuple[str, bool]:
    if _size(path) > limits.VALIDATE_JSON_MAX_BYTES:
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


_CHECKS = {Kind.SQLITE: _database, Kind.JSON: _json, Kind.JSON_LINES: _json_lines}
