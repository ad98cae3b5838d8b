"""Snapshots as people see them: one row each, from the manifest and what stands beside it.

Called by the jobs that take, list and delete snapshots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import msgspec

from holdfast.errors import HoldfastError
from holdfast.state.answers import SnapshotRow
from holdfast.state.model import Cause, Manifest, Snapshot
from holdfast.state.second_place import upload
from holdfast.state.store.names import Trashed
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository
from holdfast.worker import opening
from holdfast.worker.call import Call


def snapshots(call: Call) -> dict[str, Any]:
    """All of an agent, oldest first; with `all`, or of a removed agent, also those in the trash.

    One that cannot be read says so itself.
    """
    if not opening.exists(call.args):
        return {"snapshots": [], "trouble": call.args.get("trouble", [])}
    there = remote(call.args)
    with opening.repository(call.args) as repository:
        pins = pins_of(repository)
        listed: list[Snapshot | Trashed] = [*repository.snapshots()]
        if call.args.get("all") or call.args.get("gone"):
            listed += repository.trashed()
        rows = []
        for number, one in enumerate(listed):
            call.progress(number, len(listed), "manifests")
            rows.append(_read(repository, one, pins, there))
    rows.sort(key=lambda row: (row.seq, row.at))
    return {"snapshots": msgspec.to_builtins(rows), "trouble": call.args.get("trouble", [])}


def remote(args: dict[str, Any]) -> Collection[str] | None:
    """Names of the snapshots that are known to be in the second place; None: the agent has none."""
    return upload.known_there(opening.directory(args)) if args.get("store") else None


def pins_of(repository: Repository) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for pin in repository.pins():
        found[pin.id] += (pin.why,)
    return found


def row(
    snapshot: Snapshot,
    manifest: Manifest,
    pins: tuple[str, ...] = (),
    there: Collection[str] | None = None,
    deleted_until: float | None = None,
) -> SnapshotRow:
    """One snapshot whose manifest was read."""
    return SnapshotRow(
        id=snapshot.id,
        at=manifest.at,
        cause=manifest.cause,
        label=manifest.label,
        consistency=manifest.consistency,
        files=manifest.files,
        bytes=manifest.bytes,
        bytes_new=manifest.bytes_new,
        pinned=bool(pins),
        remote=None if there is None else snapshot.name in there,
        seq=snapshot.seq,
        took_s=manifest.took_s,
        pins=pins,
        fuzzy=manifest.fuzzy,
        left_out=manifest.left_out,
        deleted_until=deleted_until,
        rest=manifest.rest,
    )


def _read(
    repository: Repository,
    one: Snapshot | Trashed,
    pins: dict[str, tuple[str, ...]],
    there: Collection[str] | None,
) -> SnapshotRow:
    snapshot, until = (one.snapshot, float(one.deadline)) if isinstance(one, Trashed) else (one, None)
    held = pins.get(snapshot.id, ())
    try:
        return row(snapshot, repository.manifest(one), held, there, until)
    except (StoreError, HoldfastError) as error:
        return SnapshotRow(
            id=snapshot.id,
            at=snapshot.at,
            cause=Cause.TIMER,
            pinned=bool(held),
            remote=None if there is None else snapshot.name in there,
            seq=snapshot.seq,
            pins=held,
            deleted_until=until,
            damaged=str(error),
        )
