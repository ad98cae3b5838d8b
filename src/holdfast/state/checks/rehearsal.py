"""The restore drill: a snapshot built anew in a scratch directory by the code that restores, its databases checked.

Invariants: nothing but the scratch directory (and one beside it) is written, and it is gone afterwards; what an agent
has written is not taken apart with root's rights. Called by verify.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from holdfast.errors import RESTORE_NO_SPACE, HoldfastError
from holdfast.state import forking
from holdfast.state.looking.differences import shown
from holdfast.state.model import Content, Entry, Kind, Manifest, Snapshot
from holdfast.state.restore import materialize
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository

_STEPS = 100_000  # of SQLite's machine between two looks at signals: some milliseconds
_TOLD_MAX = 5  # faults of one database
_LINE_MAX = 500  # characters of each; together less than a pipe takes at once


class Rehearsed(Struct, frozen=True, kw_only=True):
    """`faults`: path and reason."""

    bytes: int
    databases: int
    faults: list[tuple[str, str]]


def rehearse(
    repository: Repository, snapshot: Snapshot, scratch: Path, progress: Callable[[int, int, str], None]
) -> Rehearsed:
    """See verify.drill, which raises what this raises."""
    aside = scratch.with_name(scratch.name + ".database")
    try:
        manifest = repository.manifest(snapshot)
        built = materialize.build_to(
            repository,
            snapshot,
            manifest,
            scratch,
            progress=lambda done, total: progress(done, total, "restoring aside"),
        )
        databases = list(_databases(repository, manifest, built.where))
        aside.mkdir(mode=0o711)  # what lies above it is closed to others
        faults = []
        for number, (path, restored) in enumerate(databases):
            progress(number, len(databases), "checking databases")
            faults += [(shown(path), reason) for reason in check_aside(restored, aside)]
        return Rehearsed(bytes=manifest.bytes, databases=len(databases), faults=faults)
    except StoreError as error:
        if not error.lasting:
            raise
        return Rehearsed(bytes=0, databases=0, faults=[("all of it", str(error))])
    except HoldfastError as error:
        if error.kind is RESTORE_NO_SPACE:
            raise
        return Rehearsed(bytes=0, databases=0, faults=[("all of it", error.summary)])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def check_aside(path: bytes, aside: Path) -> list[str]:
    """As check_database, of a file that is moved into `aside` and gone afterwards. As root, by a child that is nobody
    and sees nothing else: an agent has written that file. Raises OSError.
    """
    moved = aside / "database"
    os.rename(path, moved)
    if os.geteuid() != 0:
        found = check_database(os.fsencode(moved))
        moved.unlink()
        return found
    moved.chmod(0o600)
    os.chown(moved, forking.NOBODY.uid, forking.NOBODY.gid)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        _in_child(str(aside), writable)
    os.close(writable)
    try:
        with os.fdopen(readable, "rb") as told:
            answer = told.read()
    finally:
        forking.end(child)
        moved.unlink()
    return [str(line) for line in json.loads(answer)] if answer else ["its check did not come to an end"]


def _in_child(aside: str, out: int) -> None:
    try:
        (out,) = forking.keep_only(out)
        forking.plain_signals()
        forking.shut_in(aside)
        os.write(out, json.dumps([line[:_LINE_MAX] for line in check_database(b"/database")]).encode())
    finally:
        os._exit(0)


def check_database(path: bytes) -> list[str]:
    """What SQLite finds wrong with a database file that nobody uses; nothing: it is whole."""
    uri = f"file:{quote(path)}?mode=ro&immutable=1"
    try:
        db = sqlite3.connect(uri, uri=True)
        try:
            db.set_progress_handler(lambda: 0, _STEPS)  # lets a cancelled job end
            db.execute("PRAGMA trusted_schema = OFF")
            rows = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({_TOLD_MAX})")]
        finally:
            db.close()
    except sqlite3.Error as error:
        return [f"its check failed: {error}"]
    return [] if rows == ["ok"] else rows


def _databases(repository: Repository, manifest: Manifest, where: dict[str, str]) -> Iterator[tuple[bytes, bytes]]:
    """(path as it was, path where it lies now) of each database."""
    for root in manifest.roots:
        if root.entry is not None and root.path in where:
            waiting: list[tuple[bytes, bytes, Entry]] = [
                (os.fsencode(root.path), os.fsencode(where[root.path]), root.entry)
            ]
            while waiting:
                path, now, entry = waiting.pop()
                if entry.kind is Kind.DIRECTORY:
                    for child in repository.tree(entry.blobs[0]):
                        waiting.append((path + b"/" + child.name, now + b"/" + child.name, child))
                elif entry.kind is Kind.FILE and entry.content is Content.DATABASE:
                    yield path, now
