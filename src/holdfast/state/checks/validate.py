"""Whether a tree holds what an agent can start with: databases that are whole, JSON that can be read, files that exist.

Invariant: looks with the agent's rights, in a process of its own that is ended when its time is over, and changes
nothing but what SQLite itself needs beside a database with a write-ahead log. Only certain damage is a fault: what
could not be looked at is said separately, and never a reason to restore. Called by the worker for a live tree (its
agent stands still) or a fresh one.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from select import select

from msgspec import Struct

from holdfast import limits
from holdfast.spec.validator import Kind, Validator
from holdfast.state import forking
from holdfast.state.capture.exclude import Exclusion
from holdfast.state.checks import check_file
from holdfast.state.model import Rights
from holdfast.state.restore import asides


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
    inside: str = "",
    timeout_s: float = limits.VALIDATE_MAX_S,
) -> Findings:
    """Look at each file once, in a child process. What it had found when its time was over counts.

    `inside`: a directory that is all the child sees, as nobody; the trees are then named as seen from there. Only as
    root; an ordinary user's child sees what the user does.
    """
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(list(trees), list(validators), rights, inside, writable)
    os.close(writable)
    try:
        lines, ended = _gather(readable, time.monotonic() + timeout_s)
    finally:
        os.close(readable)
        forking.end(child)
    return _findings(lines, ended)


def _in_child(trees: list[str], validators: list[Validator], rights: Rights | None, inside: str, out: int) -> None:
    status = 1
    try:
        (out,) = forking.keep_only(out)
        forking.plain_signals()
        if inside:
            forking.shut_in(inside)
        else:
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
    present = {validator.path for validator in validators if validator.kind is Kind.PRESENT}
    alike: dict[tuple[str, ...], list[Validator]] = {}  # one walk for those that skip the same
    for validator in validators:
        alike.setdefault(validator.skip, []).append(validator)
    for skip, together in alike.items():
        asked = [(validator, Exclusion([validator.path])) for validator in together]
        for tree in trees:
            yield from _tree(tree, Exclusion(skip), asked, present)
    for wanted in sorted(present):
        path = os.path.join(trees[0], wanted.lstrip("/")) if trees else wanted
        yield ["fault", path, Kind.PRESENT, "missing or empty"]


def _tree(
    tree: str, skip: Exclusion, asked: list[tuple[Validator, Exclusion]], present: set[str]
) -> Iterator[list[str]]:
    seen = 0
    for path, below in _files(tree, skip):
        seen += 1
        if seen > limits.VALIDATE_FILES_MAX:
            yield ["unchecked", tree, f"more than {limits.VALIDATE_FILES_MAX} files; the rest was not looked at"]
            return
        for validator, pattern in asked:
            if not pattern.leaves_out(below, directory=False):
                continue
            if validator.kind is not Kind.PRESENT:
                yield from check_file.look(path, validator.kind)
            elif check_file.size(path):
                present.discard(validator.path)


def _files(tree: str, skip: Exclusion) -> Iterator[tuple[str, bytes]]:
    """Regular files and their path below the tree; a file is its own tree."""
    if not os.path.isdir(tree) or os.path.islink(tree):
        if os.path.isfile(tree) and not os.path.islink(tree):
            yield tree, os.fsencode(os.path.basename(tree))
        return
    for directory, names, files in os.walk(tree):
        names[:] = [name for name in names if not _is_skipped(skip, tree, directory, name, is_directory=True)]
        for name in files:
            path = os.path.join(directory, name)
            try:
                regular = stat.S_ISREG(os.lstat(path).st_mode)
            except OSError:
                continue
            if regular and not _is_skipped(skip, tree, directory, name, is_directory=False):
                yield path, os.fsencode(os.path.relpath(path, tree))


def _is_skipped(skip: Exclusion, tree: str, directory: str, name: str, *, is_directory: bool) -> bool:
    if asides.is_aside(os.fsencode(name)):
        return True
    below = os.path.relpath(os.path.join(directory, name), tree) if skip else ""
    return bool(skip) and skip.leaves_out(os.fsencode(below), directory=is_directory)
