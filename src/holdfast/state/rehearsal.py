"""The restore drill: a snapshot built anew in a scratch directory by the code that restores, its databases checked.

Invariant: nothing but the scratch directory is written, and it is gone afterwards. Called by verify.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from msgspec import Struct

from holdfast.errors import RESTORE_NO_SPACE, HoldfastError
from holdfast.state import materialize
from holdfast.state.differences import shown
from holdfast.state.model import Content, Entry, Kind, Manifest, Snapshot
from holdfast.state.objects import StoreError
from holdfast.state.repository import Repository

_STEPS = 100_000  # of SQLite's machine between two looks at signals: some milliseconds
_TOLD_MAX = 5  # faults of one database


class Rehearsed(Struct, frozen=True, kw_only=True):
    """`faults`: path and reason."""

    bytes: int
    databases: int
    faults: list[tuple[str, str]]


def rehearse(
    repository: Repository, snapshot: Snapshot, scratch: Path, progress: Callable[[int, int, str], None]
) -> Rehearsed:
    """See verify.drill, which raises what this raises."""
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
        faults = []
        for number, (path, restored) in enumerate(databases):
            progress(number, len(databases), "checking databases")
            faults += [(shown(path), reason) for reason in check_database(restored)]
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
