"""What an agent's snapshots cost: bytes of each, new in each, in no other, and what all of them save.

Memory is bounded: each blob costs about 40 bytes, whatever the number of snapshots that hold it. Called by the
worker's `du` and by thinning, when the disk budget is exceeded.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from msgspec import Struct

from holdfast.errors import HoldfastError
from holdfast.state.answers import SnapshotUsage, Usage
from holdfast.state.keeping.marking import IdTable, Seen, bare, reach
from holdfast.state.model import Manifest, Snapshot
from holdfast.state.store.names import Trashed
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository

Progress = Callable[[int, int, str], None]


class Spans(Struct, frozen=True, kw_only=True):
    """`sizes`: (seq of the first, of the last snapshot that holds them) -> stored bytes. `unreadable`: ids."""

    sizes: dict[tuple[int, int], int]
    live_bytes: int
    held_bytes: int  # of all blobs that are stored, each counted once for every pack it lies in
    unreadable: tuple[str, ...]


def du(repository: Repository, progress: Progress = lambda done, total, what: None) -> Usage:
    """Raises StoreError. Snapshots that cannot be looked through count with what could be read of them."""
    snapshots = repository.snapshots()
    found = spans(repository, snapshots, progress)
    manifests = {one.id: manifest for one in snapshots if (manifest := _manifest(repository, one)) is not None}
    rows = [
        SnapshotUsage(
            id=one.id,
            at=one.at,
            bytes=manifests[one.id].bytes,
            new_bytes=sum(size for (first, _), size in found.sizes.items() if first == one.seq),
            unique_bytes=found.sizes.get((one.seq, one.seq), 0),
        )
        for one in snapshots
        if one.id in manifests
    ]
    trashed = repository.trashed()
    with_trash = spans(repository, [*snapshots, *trashed], progress) if trashed else found
    stored = stored_bytes(repository)
    return Usage(
        snapshots=len(snapshots),
        stored_bytes=stored,
        logical_bytes=sum(row.bytes for row in rows),
        newest_bytes=rows[-1].bytes if rows else 0,
        trash_bytes=max(0, with_trash.live_bytes - found.live_bytes),
        oldest_at=snapshots[0].at if snapshots else None,
        newest_at=snapshots[-1].at if snapshots else None,
        path=repository.store.where,
        rows=rows,
        unused_bytes=with_trash.held_bytes - with_trash.live_bytes,
    )


def stored_bytes(repository: Repository) -> int:
    """All objects of the repository. Raises StoreError."""
    return sum(stored.size for stored in repository.store.list(""))


def spans(
    repository: Repository,
    snapshots: Sequence[Snapshot | Trashed],
    progress: Progress = lambda done, total, what: None,
) -> Spans:
    """In which run of snapshots each blob is held. Raises StoreError for what may pass; damage is told in `unreadable`.

    Each directory is read twice, however many snapshots hold it: oldest first tells the first, newest first the last.
    """
    table = IdTable()
    unreadable: set[str] = set()
    ordered = sorted(snapshots, key=lambda one: bare(one).seq)
    first = _sweep(repository, ordered, table, unreadable, progress)
    last = _sweep(repository, ordered[::-1], table, unreadable, progress)
    sizes: dict[tuple[int, int], int] = {}
    counted = Seen()
    repository.refresh()
    held = 0
    for _number, blob, _kind, _length, share in repository.index.all_contents():
        held += share
        ordinal = table.find(blob)
        if ordinal < 0 or ordinal >= min(len(first), len(last)) or not counted.add(ordinal):
            continue
        span = (first[ordinal], last[ordinal])
        sizes[span] = sizes.get(span, 0) + share
    return Spans(sizes=sizes, live_bytes=sum(sizes.values()), held_bytes=held, unreadable=tuple(sorted(unreadable)))


def _sweep(
    repository: Repository,
    snapshots: Sequence[Snapshot | Trashed],
    table: IdTable,
    unreadable: set[str],
    progress: Progress,
) -> array[int]:
    """By ordinal: the seq of the snapshot that met it first in this order."""
    met = array("Q")
    seen = Seen()
    for number, snapshot in enumerate(snapshots):
        progress(number, len(snapshots), "counting")
        manifest = _manifest(repository, snapshot)
        if manifest is None:
            unreadable.add(bare(snapshot).id)
            continue
        try:
            for ordinal in reach(repository, manifest, table, seen):
                if ordinal >= len(met):
                    met.extend([0] * (ordinal + 1 - len(met)))
                met[ordinal] = bare(snapshot).seq
        except StoreError as error:
            if not error.lasting:
                raise
            unreadable.add(bare(snapshot).id)
    return met


def _manifest(repository: Repository, snapshot: Snapshot | Trashed) -> Manifest | None:
    try:
        return repository.manifest(snapshot)
    except StoreError as error:
        if not error.lasting:
            raise
        return None
    except HoldfastError:
        return None  # of a newer format
