"""Whether a snapshot may become known-good: its databases are whole, and no JSON file of it was lost on the way.

Invariants: what was proven with the former known-good snapshot is not read again, so the cost is that of what changed;
nothing but the scratch directory is written, and it is gone afterwards; what was not looked at is told. A JSON file
counts only where its former version could be parsed: some programs call something else `.json`. Called by the worker.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast import limits
from holdfast.state import forking
from holdfast.state.checks import validate
from holdfast.state.checks.validate import Findings
from holdfast.state.looking.differences import shown
from holdfast.state.looking.history import is_other
from holdfast.state.model import Content, Entry, Kind, Root, Snapshot
from holdfast.state.store.repository import Repository

Progress = Callable[[int, int, str], None]
Pair = tuple[bytes, Entry | None, Entry]  # path, as it was proven before, as it is


class Proof(Struct, frozen=True, kw_only=True):
    """`faults`: sentences, each a reason against it. `unchecked`: what is not known, and why."""

    faults: list[str]
    unchecked: list[str]
    looked: int


class Chosen(Struct, frozen=True, kw_only=True):
    """What is looked at of what changed."""

    databases: list[Pair]
    texts: list[Pair]
    unchecked: list[str]


def choose(changed: Sequence[Pair], room_bytes: int) -> Chosen:
    """The smallest first, as many as `room_bytes` and the limits allow. Pure."""
    databases: list[Pair] = []
    texts: list[Pair] = []
    unchecked: list[str] = []
    left = limits.PROOF_MAX_BYTES
    for path, before, after in sorted(changed, key=lambda pair: pair[2].size):
        if after.content is Content.DATABASE:
            if after.size <= min(left, room_bytes):
                left -= after.size
                databases.append((path, before, after))
            else:
                reason = "too large to be checked each time" if after.size > left else "no room to check it"
                unchecked.append(f"{shown(path)}: {reason}")
        elif path.endswith(b".json"):
            if after.size > limits.PROOF_JSON_MAX_BYTES:
                unchecked.append(f"{shown(path)}: too large to be checked each time")
            elif len(texts) < limits.PROOF_JSON_FILES_MAX:
                texts.append((path, before, after))
    return Chosen(databases=databases, texts=texts, unchecked=unchecked)


def prove(
    repository: Repository,
    snapshot: Snapshot,
    former: Snapshot | None,
    scratch: Path,
    progress: Progress = lambda done, total, what: None,
) -> Proof:
    """`former`: the known-good snapshot until now. `scratch` must not exist. Raises StoreError, OSError."""
    now = repository.manifest(snapshot).roots
    before = repository.manifest(former).roots if former is not None else ()
    room = _room(scratch.parent)
    chosen = choose(list(changed(repository, before, now)), room)
    total, faults, unchecked = len(chosen.databases) + len(chosen.texts), [], list(chosen.unchecked)
    scratch.mkdir(mode=0o700)
    try:
        for number, (path, _, after) in enumerate(chosen.databases):
            progress(number, total, "checking databases")
            found = _examined(repository, after, scratch)
            faults += [f"{shown(path)}: {fault.reason}" for fault in found.faults]
            unchecked += [f"{shown(path)}: {one.partition(': ')[2]}" for one in found.unchecked]
        for path, entry, after in chosen.texts:
            progress(total - len(chosen.texts), total, "checking JSON files")
            why = _broken(repository, after)
            if why and (entry is None or entry.kind is not Kind.FILE or _broken(repository, entry)):
                unchecked.append(f"{shown(path)}: it was no JSON before either")
            elif why:
                faults.append(f"{shown(path)}: {why}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Proof(faults=faults, unchecked=unchecked, looked=total)


def changed(repository: Repository, before: Sequence[Root], now: Sequence[Root]) -> Iterator[Pair]:
    """The files of `now` that are not as they were, without reading what is equal. Raises StoreError."""
    former = {root.path: root.entry for root in before}
    waiting = [(os.fsencode(root.path), former.get(root.path), root.entry) for root in now]
    while waiting:
        path, old, new = waiting.pop()
        if new is None or not is_other(old, new):
            continue
        if new.kind is Kind.FILE:
            yield path, old, new
        elif new.kind is Kind.DIRECTORY:
            known = {child.name: child for child in _children(repository, old)}
            for child in _children(repository, new):
                waiting.append((path.rstrip(b"/") + b"/" + child.name, known.get(child.name), child))


def _children(repository: Repository, entry: Entry | None) -> list[Entry]:
    return repository.tree(entry.blobs[0]) if entry is not None and entry.kind is Kind.DIRECTORY else []


def _broken(repository: Repository, entry: Entry) -> str:
    """Why it is no JSON; "": it is, or that is not known."""
    if entry.size > limits.PROOF_JSON_MAX_BYTES:
        return ""
    data = b"".join(repository.entry_stream(entry)).removeprefix(b"\xef\xbb\xbf")
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return str(error) if data else "it is empty"
    except RecursionError:
        return ""
    return ""


def _examined(repository: Repository, entry: Entry, scratch: Path) -> Findings:
    """One database as it would be restored. Raises StoreError, OSError."""
    path = scratch / "database"
    try:
        with path.open("wb") as file:
            for piece in repository.entry_stream(entry):
                file.write(piece)
        if os.geteuid() != 0:
            return validate.examine([str(path)], validate.DATABASES)
        os.chown(path, forking.NOBODY.uid, forking.NOBODY.gid)
        scratch.chmod(0o711)  # what lies above it is closed to others
        return validate.examine(["/database"], validate.DATABASES, inside=str(scratch))
    finally:
        path.unlink(missing_ok=True)


def _room(directory: Path) -> int:
    """What a scratch file may take: half of what is free."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize // 2
