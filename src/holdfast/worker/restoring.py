"""The jobs of a restore: build beside the live files, exchange, then settle or go back.

Invariants: each step is durable before the next and may be repeated after a kill (exchange.py); which step
comes when, and that the agent stands still meanwhile, is the keeper's business. Called by jobs.py, in a child of the
worker.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from holdfast.state.checks import verify as checks
from holdfast.state.model import Snapshot
from holdfast.state.restore import exchange, materialize
from holdfast.state.restore.intent import Intent
from holdfast.state.store.damage import Damaged, MissingBlob
from holdfast.state.store.names import Trashed
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository
from holdfast.worker import opening
from holdfast.worker.call import Call
from holdfast.worker.protocol import Fault, JobFailed
from holdfast.worker.upkeep import find


def build(call: Call) -> dict[str, Any]:
    """Fresh trees of `snapshot` (live or in the trash) beside the live ones, with `path` of that alone; or, with `to`,
    in that directory, where nothing follows. {"short", "at", "notes", "where"}

    Damage is answered with what remains restorable, unless `advise` is false: that takes its time.
    """
    with opening.looked_at(call.args) as repository:
        found = find(repository, call.args["snapshot"])
        try:
            return _build(call, repository, found)
        except (Damaged, MissingBlob) as error:
            if not call.args.get("advise", True):
                raise
            raise JobFailed(Fault.DAMAGED, _instead(call, repository, found, error), lasting=True) from error


def _build(call: Call, repository: Repository, found: Snapshot | Trashed) -> dict[str, Any]:
    args = call.args
    rights, only, to = opening.rights(args), args.get("path") or None, args.get("to")
    manifest = repository.manifest(found)
    snapshot = found.snapshot if isinstance(found, Trashed) else found
    if to:
        built = materialize.build_to(
            repository, snapshot, manifest, Path(to), owner=rights, only=only, progress=call.progress
        )
        return {"short": snapshot.short, "at": manifest.at, "notes": built.notes, "where": built.where}
    with opening.locked(args):
        intent = materialize.build(
            opening.directory(args),
            repository,
            snapshot,
            manifest,
            rights=rights,
            now=time.time(),
            only=only,
            progress=call.progress,
        )
    return _told(intent)


def _instead(call: Call, repository: Repository, found: Snapshot | Trashed, error: StoreError) -> str:
    """Which snapshot is damaged, and which to take instead: every block of all of them is looked at once."""
    snapshot = found.snapshot if isinstance(found, Trashed) else found
    checked = checks.everything(repository, progress=call.progress)
    rest = checked.said[-1] if checked.said else "see `holdfast state verify` for the others"
    return f"snapshot {snapshot.short} cannot be restored ({error}); {rest}"


def swap(call: Call) -> dict[str, Any]:
    """What was built takes the place of the live files; the old trees stay beside them. {"short", "notes", "where"}"""
    with opening.locked(call.args):
        return _told(exchange.begin(opening.directory(call.args)))


def settle(call: Call) -> dict[str, Any]:
    """The agent is well: the old trees go. {"over"}"""
    with opening.locked(call.args):
        return {"over": exchange.settle(opening.directory(call.args))}


def back(call: Call) -> dict[str, Any]:
    """The old trees return; with `keep_failed` the version that failed stays beside them. {"outcome", "over"}"""
    with opening.locked(call.args):
        return _recovered(exchange.back(opening.directory(call.args), keep_failed=bool(call.args.get("keep_failed"))))


def recover(call: Call) -> dict[str, Any]:
    """After a kill at any step: finished or undone. To be asked before the agent starts. {"outcome", "over"}"""
    with opening.locked(call.args):
        return _recovered(exchange.recover(opening.directory(call.args), keep_built=bool(call.args.get("keep_built"))))


def _told(intent: Intent) -> dict[str, Any]:
    return {
        "snapshot": intent.snapshot,
        "short": intent.short,
        "at": intent.at,
        "notes": list(intent.notes),
        "where": {place.path: place.path for place in intent.places},
        "old_trees": exchange.old_trees(intent),
    }


def _recovered(found: exchange.Recovered) -> dict[str, Any]:
    told: dict[str, Any] = {"outcome": str(found.outcome), "over": found.over}
    if found.intent is not None:
        told["intent"] = msgspec.to_builtins(_told(found.intent))
    return told
