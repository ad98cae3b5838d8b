"""Deletes packs that no snapshot needs: condemn, wait, mark again, delete. One run does what is due of each.

Invariants: packs are listed before snapshots, so whatever a running capture stored meanwhile is judged next time;
nothing is deleted that was not condemned for a day by the clock of its place, with a snapshot committed since, and
found unused again; nothing at all where one snapshot cannot be looked through. A kill between any two steps leaves
every snapshot as it was. Works on any Store; one run at a time (the repository's lock). Called by the worker.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from holdfast.errors import HoldfastError
from holdfast.limits import GC_LIVE_PART_MIN, GC_SMALL_AGE_S, GC_SMALL_PACK_BYTES, GC_SMALL_PACKS_MIN, GC_WAIT_S
from holdfast.state.answers import Collected
from holdfast.state.keeping import condemning, repacking
from holdfast.state.keeping.condemning import FORMAT, Condemned, Mark, Now
from holdfast.state.keeping.marking import IdTable, Seen, bare, reach
from holdfast.state.model import Snapshot
from holdfast.state.store import names
from holdfast.state.store.names import Trashed
from holdfast.state.store.objects import Store, Stored, StoreError
from holdfast.state.store.repository import Repository

Progress = Callable[[int, int, str], None]


class Look(Struct, frozen=True, kw_only=True):
    """A pack as the plan sees it. `live`: ordinals of blobs in it that snapshots need."""

    name: str
    size: int
    changed_at: float
    total_bytes: int
    live_bytes: int
    live: array[int]

    @property
    def live_part(self) -> float:
        return self.live_bytes / self.total_bytes if self.total_bytes else 0.0


class Plan(Struct, frozen=True, kw_only=True):
    """`unused`: what they hold is needed by nobody, or lies in others as well. `rewrite`: worth writing again."""

    unused: frozenset[str]
    rewrite: tuple[str, ...]
    missing: tuple[int, ...]  # ordinals of needed blobs that no pack holds


class Refused(Exception):
    """Nothing may be deleted; str() says why and which snapshot it is about."""


def plan(looks: Iterable[Look], needed: int, condemned: frozenset[str], store_at: float) -> Plan:
    """Pure. Gives each needed blob (ordinals 0 .. needed-1) one pack to stay in; packs that are none's are unused.

    Condemned packs come last, so that what was written again since stands in for them.
    """
    ordered = sorted(looks, key=lambda one: _rank(one, condemned))
    covered = bytearray(needed)
    unused = set()
    for look in ordered:
        mine = [ordinal for ordinal in look.live if not covered[ordinal]]
        for ordinal in mine:
            covered[ordinal] = 1
        if not mine:
            unused.add(look.name)
    missing = tuple(ordinal for ordinal in range(needed) if not covered[ordinal]) if 0 in covered else ()
    staying = [look for look in ordered if look.name not in unused and look.name not in condemned]
    return Plan(unused=frozenset(unused), rewrite=_worth_rewriting(staying, store_at), missing=missing)


def _rank(look: Look, condemned: frozenset[str]) -> tuple[bool, bool, int, str]:
    return (look.name in condemned, look.live_part < GC_LIVE_PART_MIN, -look.size, look.name)


def _worth_rewriting(staying: Sequence[Look], store_at: float) -> tuple[str, ...]:
    """Old packs that are mostly dead, and small ones where there are many."""
    old = [look for look in staying if store_at - look.changed_at >= GC_SMALL_AGE_S]
    dead = [look for look in old if look.live_part < GC_LIVE_PART_MIN]
    small = [look for look in old if look.size < GC_SMALL_PACK_BYTES and look.live_part >= GC_LIVE_PART_MIN]
    if len(small) < GC_SMALL_PACKS_MIN:
        small = []
    return tuple(look.name for look in dead + small)


def run(
    repository: Repository,
    now: float,
    *,
    dry_run: bool = False,
    elapsed_s: float | None = None,
    keep: frozenset[str] = frozenset(),
    doubtful: frozenset[str] = frozenset(),
    repack: bool = True,
    progress: Progress = lambda done, total, what: None,
) -> Collected:
    """One collection. `now`: wall clock, used by a dry run alone, which writes nothing.

    `elapsed_s`: by the record of aging.py, against clocks that jump. `keep`: packs that are never condemned here,
    though nobody needs them (at the second place: those that the first one has). `doubtful`: packs known to be damaged,
    which stand in for no other. Never raises for the repository's
    troubles: `refused` says them.
    """
    try:
        return _run(repository, now, dry_run, elapsed_s, keep, doubtful, repack, progress)
    except (Refused, StoreError) as error:
        return Collected(dry_run=dry_run, refused=str(error))


def _run(
    repository: Repository,
    now: float,
    dry_run: bool,
    elapsed_s: float | None,
    keep: frozenset[str],
    doubtful: frozenset[str],
    repack: bool,
    progress: Progress,
) -> Collected:
    store = repository.store
    marks = condemning.marks(store)
    packs = [one for one in store.list(names.PACKS) if names.read_pack(one.name) is not None]
    committed = every_snapshot(store)
    table = IdTable()
    mark_all(repository, committed, table, progress)
    looks, unreadable = look_into(repository, packs, table, progress)
    store_at = now if dry_run else condemning.store_clock(store)
    clocks = Now(store_at=store_at, seq=max((bare(one).seq for one in committed), default=-1), elapsed_s=elapsed_s)
    known = frozenset(pack for one in marks if one.mark is not None for pack in one.mark.packs)
    found = plan(looks, len(table), known | doubtful, store_at)
    sizes = {look.name: look.size for look in looks}
    due = [one for one in marks if condemning.is_ripe(one, clocks)]
    void = [one for one in marks if condemning.is_void(one, clocks)]
    valid = {pack for one in marks if one not in void and one.mark is not None for pack in one.mark.packs}
    fresh = found.unused - valid - keep
    going = [pack for one in due if one.mark is not None for pack in one.mark.packs if pack in found.unused - keep]
    worth = [pack for pack in found.rewrite if pack not in keep] if repack else []
    trouble = _trouble(unreadable, len(found.missing))
    if dry_run:
        waiting = sum(sizes[pack] for pack in found.unused - keep - set(going))
        return Collected(
            dry_run=True,
            freed_bytes=sum(sizes[pack] for pack in going),
            waiting_bytes=waiting,
            repacked=len(worth),
            packs=len(going),
            next_at=_next_at(marks, due, waiting, now),
            trouble=trouble,
        )
    if fresh:
        _condemn(store, fresh, clocks, marks)
    for one in void:
        store.delete(one.name)
    freed = _delete(repository, going, sizes, progress)
    for one in due:
        store.delete(one.name)
    rewritten = _repack(repository, worth, table, clocks, progress) if worth else ()
    for name in condemning.left_clocks(store):
        store.delete(name)
    waiting = sum(sizes[pack] for pack in (found.unused - keep - set(going)) | set(rewritten))
    return Collected(
        dry_run=False,
        freed_bytes=freed,
        waiting_bytes=waiting,
        repacked=len(rewritten),
        packs=len(going),
        next_at=_next_at(marks, due, waiting, store_at),
        trouble=trouble,
    )


def every_snapshot(store: Store) -> list[Snapshot | Trashed]:
    """All manifests, live and in trash. Raises Refused for a name that cannot be read, and StoreError.

    Live ones are listed twice: one that moves between the two lists meanwhile is seen in either direction.
    """
    found: dict[str, Snapshot | Trashed] = {}
    for prefix in (names.SNAPS, names.TRASH, names.SNAPS):
        for stored in store.list(prefix):
            if prefix == names.TRASH:
                one: Snapshot | Trashed | None = names.read_trashed(stored.name)
            else:
                one = names.read_snapshot(stored.name.removeprefix(names.SNAPS))
            if one is None:
                raise Refused(f"{stored.name} in {store.where} is no snapshot's name; nothing was deleted")
            found[stored.name] = one
    return [found[name] for name in sorted(found)]


def mark_all(
    repository: Repository, committed: Sequence[Snapshot | Trashed], table: IdTable, progress: Progress
) -> None:
    """Every blob that any of them needs gets an ordinal. Raises Refused where one cannot be looked through."""
    seen = Seen()
    for number, one in enumerate(sorted(committed, key=lambda one: bare(one).seq)):
        progress(number, len(committed), "marking")
        try:
            for _ in reach(repository, repository.manifest(one), table, seen):
                pass
        except (StoreError, HoldfastError) as error:
            raise Refused(
                f"snapshot {bare(one).short} cannot be looked through: {error}. Nothing was deleted; "
                "`holdfast state verify` says which others can be restored"
            ) from error


def look_into(
    repository: Repository, packs: Sequence[Stored], table: IdTable, progress: Progress
) -> tuple[list[Look], list[str]]:
    """What each pack holds of what is needed, and the packs whose footer cannot be read: those are left alone."""
    progress(0, len(packs), "reading packs")
    known = {facts.number: facts.name for facts in repository.packs()}
    live: dict[int, array[int]] = {number: array("I") for number in known}
    totals = dict.fromkeys(known, 0)
    live_bytes = dict.fromkeys(known, 0)
    for number, blob, _kind, _length, share in repository.index.all_contents():
        totals[number] += share
        ordinal = table.find(blob)
        if ordinal >= 0:
            live[number].append(ordinal)
            live_bytes[number] += share
    listed = {names.read_pack(stored.name): stored for stored in packs}
    looks = [
        Look(
            name=name,
            size=listed[name].size,
            changed_at=listed[name].changed_at,
            total_bytes=totals[number],
            live_bytes=live_bytes[number],
            live=live[number],
        )
        for number, name in known.items()
        if name in listed  # others were stored after the list was made
    ]
    return looks, sorted(set(repository.index.unreadable) & {name for name in listed if name is not None})


def _condemn(store: Store, packs: Iterable[str], clocks: Now, marks: Sequence[Condemned]) -> None:
    mark = Mark(format=FORMAT, seq=clocks.seq, elapsed_s=clocks.elapsed_s, packs=tuple(sorted(packs)))
    if not condemning.write(store, mark, marks):
        raise Refused("another collection runs at the same time; nothing was deleted")


def _delete(repository: Repository, packs: Sequence[str], sizes: Mapping[str, int], progress: Progress) -> int:
    freed = 0
    for number, pack in enumerate(repository.delete_packs(packs) if packs else ()):
        progress(number, len(packs), "deleting")
        freed += sizes[pack]
    return freed


def _repack(
    repository: Repository, wanted: Sequence[str], table: IdTable, clocks: Now, progress: Progress
) -> tuple[str, ...]:
    """The packs that were written again; they are condemned by a mark of their own."""
    marks = condemning.marks(repository.store)
    condemned = frozenset(pack for one in marks if one.mark is not None for pack in one.mark.packs)
    done = repacking.rewrite(repository, [pack for pack in wanted if pack not in condemned], condemned, table, progress)
    if done:
        _condemn(repository.store, done, clocks, marks)
    return done


def _next_at(marks: Sequence[Condemned], due: Sequence[Condemned], waiting_bytes: int, now: float) -> float | None:
    """When the next packs may go at the earliest; None: nothing waits."""
    if not waiting_bytes:
        return None
    return min((one.changed_at + GC_WAIT_S for one in marks if one not in due), default=now + GC_WAIT_S)


def _trouble(unreadable: Sequence[str], missing: int) -> list[str]:
    said = [f"pack {name} cannot be read and was left alone" for name in unreadable]
    if missing:
        said.append(f"{missing} blobs that snapshots need are in no pack: `holdfast state verify` says which snapshots")
    return said
