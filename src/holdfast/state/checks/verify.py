"""Looks whether snapshots can be restored: are all packs and blobs there, are their bytes right, does a drill succeed.

Invariants: nothing is changed; whatever is found is told by snapshot and path, together with what remains restorable;
one damaged snapshot never hides another. Called by the worker: closure hourly, a sample daily, a drill weekly.
"""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.limits import VERIFY_FAULTS_MAX, VERIFY_SAMPLE_PART
from holdfast.state.answers import Checked, Fault
from holdfast.state.checks import affected, rehearsal
from holdfast.state.keeping.marking import IdTable, Seen, reach, read_each
from holdfast.state.model import Manifest, Snapshot
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository

Progress = Callable[[int, int, str], None]
_AT_ONCE = 512


def _silent(done: int, total: int, what: str) -> None: ...


def closure(
    repository: Repository, *, every: bool = False, suspects: Collection[str] = (), progress: Progress = _silent
) -> Checked:
    """Is all there that the newest snapshot needs (`every`: each of them), with the right sizes?

    Directories and lists are read and checked, contents only looked up, but for those in the packs `suspects`. Raises
    StoreError where asking again may help.
    """
    return _Check(repository, progress, frozenset(suspects)).run(newest_only=not every, part=0.0)


def sample(
    repository: Repository, *, part: float = VERIFY_SAMPLE_PART, seed: int | None = None, progress: Progress = _silent
) -> Checked:
    """Reads and checks that part of all contents (by chance, `seed` repeats it) after a closure of the newest."""
    return _Check(repository, progress).run(newest_only=True, part=part, seed=seed)


def everything(repository: Repository, *, progress: Progress = _silent) -> Checked:
    """All snapshots, every blob read and checked."""
    return _Check(repository, progress).run(newest_only=False, part=1.0)


def drill(
    repository: Repository, scratch: Path, snapshot: Snapshot | None = None, *, progress: Progress = _silent
) -> Checked:
    """Restores a snapshot (None: the newest) into `scratch`, which must not exist, and checks its databases.

    `scratch` is taken away again in any case. Raises StoreError where asking again may help, OSError, and HoldfastError
    where there is no room for it.
    """
    began = time.monotonic()
    snapshots = repository.snapshots()
    chosen = snapshot or (snapshots[-1] if snapshots else None)
    if chosen is None:
        return Checked(snapshots=0, restorable=0)
    told = rehearsal.rehearse(repository, chosen, scratch, progress)
    faults = [Fault(snapshot=chosen.id, path=path, reason=reason) for path, reason in told.faults]
    return Checked(
        snapshots=1,
        restorable=0 if faults else 1,
        blobs=told.databases,
        bytes=told.bytes,
        took_s=time.monotonic() - began,
        faults=faults,
        said=_drill_said(repository, chosen, faults, told.databases),
    )


class _Check:
    """One verification."""

    def __init__(self, repository: Repository, progress: Progress, suspects: frozenset[str] = frozenset()) -> None:
        self._repository = repository
        self._suspects = suspects
        self._progress = progress
        self._table = IdTable()
        self._seen = Seen()
        self._bad: dict[bytes, str] = {}
        self._unreadable: dict[str, str] = {}  # id of a snapshot -> why its manifest cannot be read
        self._bytes = 0
        self._blobs = 0

    def run(self, *, newest_only: bool, part: float, seed: int | None = None) -> Checked:
        began = time.monotonic()
        snapshots = self._repository.snapshots()
        self._repository.refresh()
        looked = snapshots[-1:] if newest_only else snapshots
        self._reach(looked)
        self._look_up()
        if part > 0 or self._suspects:
            self._read(part, seed)
        faults = self._faults(snapshots)
        hurt = {fault.snapshot for fault in faults} & {one.id for one in snapshots}
        return Checked(
            snapshots=len(snapshots) if self._bad or not newest_only else len(looked),
            restorable=(len(snapshots) if self._bad or not newest_only else len(looked)) - len(hurt),
            blobs=self._blobs,
            bytes=self._bytes,
            took_s=time.monotonic() - began,
            faults=faults[:VERIFY_FAULTS_MAX],
            said=_said(snapshots, faults),
        )

    def _note(self, blob: bytes, error: StoreError) -> None:
        self._bad[blob] = str(error)

    def _reach(self, snapshots: Sequence[Snapshot]) -> None:
        for number, snapshot in enumerate(snapshots):
            self._progress(number, len(snapshots), "looking through snapshots")
            manifest = self._manifest(snapshot)
            if manifest is None:
                continue
            for _ in reach(self._repository, manifest, self._table, self._seen, self._note):
                self._blobs += 1

    def _manifest(self, snapshot: Snapshot) -> Manifest | None:
        try:
            return self._repository.manifest(snapshot)
        except StoreError as error:
            if not error.lasting:
                raise
            self._unreadable[snapshot.id] = str(error)
        except HoldfastError as error:
            self._unreadable[snapshot.id] = error.summary
        return None

    def _look_up(self) -> None:
        """What is needed and in no pack."""
        index = self._repository.index
        for at in range(0, len(self._table), _AT_ONCE):
            some = [self._table.id_of(number) for number in range(at, min(at + _AT_ONCE, len(self._table)))]
            missing = set(some) - index.find(some).keys()
            for blob in missing - self._repository.bring(missing) if missing else ():
                self._bad.setdefault(blob, f"no pack holds blob {blob.hex()}")

    def _read(self, part: float, seed: int | None) -> None:
        chance = random.Random(seed)
        done = Seen()
        chosen: dict[int, array[int]] = {}
        suspected = {facts.number for facts in self._repository.packs() if facts.name in self._suspects}
        for number, blob, _kind, _length, _share in self._repository.index.all_contents():
            if part < 1.0 and chance.random() >= part and number not in suspected:
                continue
            ordinal = self._table.add(blob)
            if done.add(ordinal):
                chosen.setdefault(number, array("I")).append(ordinal)
        for count, ordinals in enumerate(chosen.values()):
            self._progress(count, len(chosen), "reading packs")
            blobs = [self._table.id_of(ordinal) for ordinal in ordinals]
            places = self._repository.index.find(blobs)
            blobs.sort(key=lambda blob: places[blob])
            for at in range(0, len(blobs), _AT_ONCE):
                for _, data in read_each(self._repository, blobs[at : at + _AT_ONCE], self._note):
                    self._bytes += len(data)

    def _faults(self, snapshots: Sequence[Snapshot]) -> list[Fault]:
        """By snapshot, the newest first, and by path."""
        faults = [Fault(snapshot=one, path="", reason=why) for one, why in self._unreadable.items()]
        if not self._bad:
            return faults
        search = affected.Search(self._repository, self._bad)
        for number, snapshot in enumerate(reversed(snapshots)):
            self._progress(number, len(snapshots), "finding what is affected")
            manifest = None if snapshot.id in self._unreadable else self._manifest(snapshot)
            if manifest is None:
                if all(fault.snapshot != snapshot.id for fault in faults):
                    faults.append(Fault(snapshot=snapshot.id, path="", reason=self._unreadable[snapshot.id]))
                continue
            faults += [Fault(snapshot=snapshot.id, path=path, reason=why) for path, why in search.paths(manifest)]
        return faults


def _said(snapshots: Sequence[Snapshot], faults: Sequence[Fault]) -> list[str]:
    """Which snapshots are affected, and which remain."""
    hurt: dict[str, list[str]] = {}
    for fault in faults:
        hurt.setdefault(fault.snapshot, []).append(fault.path or "all of it")
    said = []
    for one in snapshots:
        if one.id in hurt:
            paths = hurt[one.id]
            more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
            said.append(f"snapshot {one.short} cannot be restored whole: {', '.join(paths[:3])}{more}")
    whole = [one for one in snapshots if one.id not in hurt]
    if said and whole:
        said.append(
            f"{len(whole)} of {len(snapshots)} snapshots are not affected, the newest of them {whole[-1].short}"
        )
    elif said:
        said.append("no snapshot is unaffected; paths that are not named can still be restored one by one")
    return said


def _drill_said(repository: Repository, snapshot: Snapshot, faults: Sequence[Fault], databases: int) -> list[str]:
    if not faults:
        return [f"snapshot {snapshot.short} was restored aside and is whole; {databases} databases passed their check"]
    said = [f"snapshot {snapshot.short} failed its restore drill: {fault.path}: {fault.reason}" for fault in faults[:3]]
    return [*said, f"see `holdfast state verify {repository.config.agent} --all` for what remains restorable"]
