"""Writes again what is live in packs that are mostly dead or very small. Nothing is deleted here.

Invariant: the blobs are stored and safe in their new packs before the old ones are even condemned. A pack with a blob
that cannot be read is left as it is. Called by gc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.limits import GC_REPACK_MAX_BYTES
from holdfast.state.keeping.marking import IdTable
from holdfast.state.store.objects import StoreError
from holdfast.state.store.pack import BlobKind
from holdfast.state.store.repository import Repository
from holdfast.state.store.writer import Writer

_READ_AT_ONCE = 512


def rewrite(
    repository: Repository,
    wanted: Sequence[str],
    condemned: frozenset[str],
    table: IdTable,
    progress: Callable[[int, int, str], None],
    max_bytes: int = GC_REPACK_MAX_BYTES,
) -> tuple[str, ...]:
    """The packs whose live blobs (those in `table`) lie in others now; reads at most `max_bytes`. Raises StoreError."""
    chosen = _within(repository, wanted, max_bytes)
    live = _live(repository, chosen, table)
    done = []
    with Writer(repository, condemned | frozenset(chosen)) as writer:
        for number, pack in enumerate(chosen):
            progress(number, len(chosen), "writing packs again")
            if _copy(repository, live[pack], writer):
                done.append(pack)
        writer.flush()
    return tuple(done)


def _within(repository: Repository, wanted: Sequence[str], max_bytes: int) -> list[str]:
    sizes = {facts.name: facts.size for facts in repository.index.packs()}
    chosen: list[str] = []
    total = 0
    for pack in wanted:
        total += sizes.get(pack, 0)
        if total > max_bytes and chosen:
            break
        chosen.append(pack)
    return chosen


def _live(repository: Repository, chosen: Sequence[str], table: IdTable) -> dict[str, dict[bytes, int]]:
    """Of each pack: the needed blobs in it and their kinds."""
    numbers = {facts.number: facts.name for facts in repository.index.packs()}
    found: dict[str, dict[bytes, int]] = {pack: {} for pack in chosen}
    for number, blob, kind, _length, _share in repository.index.all_contents():
        mine = found.get(numbers[number])
        if mine is not None and table.find(blob) >= 0:
            mine[blob] = kind
    return found


def _copy(repository: Repository, kinds: dict[bytes, int], writer: Writer) -> bool:
    """False: something in it cannot be read, so it stays."""
    places = repository.index.find(list(kinds))
    ordered = sorted(kinds, key=lambda blob: places[blob])  # as they lie: each frame is decoded once
    try:
        for at in range(0, len(ordered), _READ_AT_ONCE):
            some = ordered[at : at + _READ_AT_ONCE]
            for blob, data in zip(some, repository.read_many(some), strict=True):
                writer.put(data, BlobKind(kinds[blob]))
    except StoreError as error:
        if not error.lasting:
            raise
        return False
    return True
