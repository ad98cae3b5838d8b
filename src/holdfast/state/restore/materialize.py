"""Fresh trees of a snapshot: beside the live ones for a restore, or in a directory of its own to look first.

Invariant: live files are not touched, every byte was checked against its id before it is written, all is written with
the agent's rights, and what `build` returns from is on the disk. When anything fails, what was written is taken away
again. Called by the worker's restore jobs; what follows is in exchange.py.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from holdfast import errors, limits
from holdfast.sizes import counted, size
from holdfast.state import opening
from holdfast.state.identity import acting_as
from holdfast.state.looking import contents
from holdfast.state.looking.contents import Part
from holdfast.state.model import Entry, Kind, Manifest, Rights, Snapshot
from holdfast.state.restore import asides, exchange, intent, places, planning
from holdfast.state.restore.intent import Intent, Phase
from holdfast.state.restore.planning import Job
from holdfast.state.restore.scribe import Scribe
from holdfast.state.store.repository import Repository

Progress = Callable[[int, int], None]  # bytes written, bytes in all; what it raises ends the restore
_FULL = {errno.ENOSPC, errno.EDQUOT}


def _silent(_done: int, _total: int) -> None: ...


@dataclass(slots=True)
class Built:
    """What `build_to` made: where each path of the snapshot lies now, and what is not as it was."""

    where: dict[str, str]
    notes: list[str]
    files: int = 0


@dataclass(slots=True)
class _Tally:
    """What came of all trees of one restore."""

    progress: Progress
    total: int
    done: int = 0
    files: int = 0
    foreign: int = 0
    notes: list[str] = field(default_factory=list)

    def wrote(self, count: int) -> None:
        self.done += count
        self.progress(self.done, max(self.total, self.done))

    def all_notes(self) -> list[str]:
        notes = self.notes[: limits.RESTORE_NOTES_MAX]
        if self.foreign:
            foreign = counted(self.foreign, "entry", "entries")
            notes.append(f"{foreign} of another user or group: what is there belongs to the agent's now")
        return notes


def build(
    state_dir: Path,
    repository: Repository,
    snapshot: Snapshot,
    manifest: Manifest,
    *,
    rights: Rights | None,
    now: float,
    only: str | None = None,
    progress: Progress = _silent,
) -> Intent:
    """Fresh trees beside the live ones; `exchange.begin` comes next, or `exchange.clear` to give them up.

    `only`: one absolute path at or below a state path. `state_dir`: HOME/state/AGENT. Raises HoldfastError
    (RESTORE_UNDER_WAY, RESTORE_NO_SPACE, RESTORE_NOT_THERE, RESTORE_FAILED) and StoreError; then nothing is left.
    """
    _end_former(state_dir, manifest.agent)
    try:
        jobs = planning.plan(repository, manifest, snapshot, rights, only)
        _check_space(repository, manifest, jobs, rights, whole=only is None)
    except OSError as e:
        raise _failed(manifest.agent, e) from e
    current = Intent(
        agent=manifest.agent,
        snapshot=snapshot.id,
        short=snapshot.short,
        at=manifest.at,
        began_at=now,
        phase=Phase.BUILDING,
        rights=rights,
        places=[job.place for job in jobs],
    )
    tally = _Tally(progress, _total(manifest, jobs, whole=only is None))
    try:
        intent.save(state_dir, current)
        for job in jobs:
            _prepare(state_dir, current, job)
            _build_place(repository, current, job, tally)
        current.notes = tally.all_notes()
        intent.enter(state_dir, current, Phase.BUILT)
    except OSError as e:
        exchange.clear(state_dir)
        raise _refusal(manifest, jobs[0].place.path, e) from e
    except BaseException:
        exchange.clear(state_dir)
        raise
    return current


def _end_former(state_dir: Path, agent: str) -> None:
    """What a former restore left to delete is deleted first; one that is not over forbids another."""
    former = intent.load(state_dir)
    if former is not None and not exchange.clear(state_dir):
        raise errors.HoldfastError(errors.RESTORE_UNDER_WAY, agent=agent, snapshot=former.short)


def _prepare(state_dir: Path, current: Intent, job: Job) -> None:
    """Find out whether a new directory may stand beside the live path; where it may not, it stands inside."""
    place = job.place
    if place.inside:
        return
    name = asides.fresh(os.path.basename(place.path), current.short)
    try:
        with places.opened(place.path, current.rights) as fd, acting_as(current.rights):
            _take_away(fd, name)
            os.mkdir(name, 0o700, dir_fd=fd)
            os.rmdir(name, dir_fd=fd)
            return
    except OSError as e:
        refused = e
    if refused.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not job.may_go_inside:
        if refused.errno in (errno.EACCES, errno.EPERM):
            above = os.path.dirname(place.path)
            reason = f"it can only be replaced as a whole, and the agent's user may make nothing in {above}: allow that"
            raise OSError(refused.errno, f"{reason}, or restore it elsewhere with --to", place.path)
        raise refused
    place.inside = place.by_entry = True
    intent.save(state_dir, current)


def _take_away(fd: int, name: str) -> None:
    """Left from a restore whose intent is lost, or put there by the agent."""
    if places.there(fd, name) is not None:
        places.Removal().tree(fd, name)


def _build_place(repository: Repository, current: Intent, job: Job, tally: _Tally) -> None:
    entry, place = job.entry, job.place
    if entry is None:
        return
    name = os.path.basename(place.path)
    place.fresh_mode = entry.mode
    place.fresh_mtime_ns = entry.mtime_ns
    with places.opened(f"{place.path}/{name}" if place.inside else place.path, current.rights) as fd:
        if place.inside:
            with acting_as(current.rights):
                _take_away(fd, asides.fresh(name, current.short))
        fresh = os.fsencode(asides.fresh(name, current.short))
        _write(repository, entry, job.cuts, Scribe(fd, fresh, current.rights), current.rights, tally)
        places.sync(fd)


def _write(
    repository: Repository, entry: Entry, cuts: frozenset[bytes], scribe: Scribe, rights: Rights | None, tally: _Tally
) -> None:
    """Read with our rights, write with the agent's, some MiB at a time."""
    batch: list[Part] = []
    size = 0

    def flush() -> None:
        nonlocal batch, size
        with acting_as(rights):
            for part in batch:
                scribe.write(part)
        tally.wrote(size)
        batch, size = [], 0

    try:
        for part in contents.sweep(repository, entry, cuts):
            batch.append(part)
            for data in part.data:
                size += len(data)
            if size >= limits.RESTORE_BATCH_BYTES or len(batch) >= limits.RESTORE_BATCH_PARTS:
                flush()
        flush()
        scribe.sync()
    finally:
        scribe.close()
    tally.files += scribe.files
    tally.foreign += scribe.foreign
    tally.notes += scribe.notes


def _total(manifest: Manifest, jobs: list[Job], *, whole: bool) -> int:
    return manifest.bytes if whole else sum(job.entry.size for job in jobs if job.entry is not None)


def _check_space(
    repository: Repository, manifest: Manifest, jobs: list[Job], rights: Rights | None, *, whole: bool
) -> None:
    """Before anything is written. The manifest's sum is enough to know where there is plenty. Raises HoldfastError."""
    rough = manifest.bytes + manifest.files * limits.RESTORE_NAME_BYTES + limits.RESTORE_MARGIN_BYTES
    needed: dict[int, int] = {}
    for job in jobs:
        if job.entry is None:
            continue
        with places.opened(job.place.path, rights) as fd:
            status = os.fstatvfs(fd)
            device = os.fstat(fd).st_dev
        free = status.f_bavail * status.f_frsize
        if free >= rough and (not status.f_files or status.f_favail > manifest.files):
            continue
        stored, names = contents.stored_bytes(repository, job.entry)
        needed[device] = needed.get(device, limits.RESTORE_MARGIN_BYTES) + stored + names * limits.RESTORE_NAME_BYTES
        if needed[device] > free or (status.f_files and status.f_favail < names):
            raise errors.HoldfastError(
                errors.RESTORE_NO_SPACE, path=job.place.path, needed=size(needed[device]), free=size(free)
            )


def build_to(
    repository: Repository,
    snapshot: Snapshot,
    manifest: Manifest,
    to: Path,
    *,
    owner: Rights | None = None,
    only: str | None = None,
    progress: Progress = _silent,
) -> Built:
    """Build in `to`, which must not exist or be empty; each path below it by its last name. Nothing live is involved.

    Written with our own rights, in a place that nobody else can reach until it is complete. As root the files belong to
    `owner` then, or, without one, to the numbers they belonged to. Raises HoldfastError (RESTORE_TARGET,
    RESTORE_NO_SPACE, RESTORE_NOT_THERE, RESTORE_FAILED) and StoreError; then nothing is left.
    """
    chosen = planning.choose(repository, manifest, snapshot, only)
    tally = _Tally(progress, manifest.bytes if only is None else sum(entry.size for _path, entry in chosen if entry))
    names: dict[str, str] = {}
    with _target(to) as (made, parent, name, fd):
        aside = f".holdfast-{os.urandom(6).hex()}"
        try:
            os.mkdir(aside, 0o700, dir_fd=fd)
            within = os.open(aside, places.DIRECTORY, dir_fd=fd)
            try:
                for path, entry in chosen:
                    if entry is None:
                        continue
                    names[path] = _free_name(within, os.path.basename(path))
                    scribe = Scribe(within, os.fsencode(names[path]), None, owner)
                    _write(repository, entry, frozenset(), scribe, None, tally)
                places.sync(within)
                for path, entry in chosen:
                    if entry is not None:
                        _move_out(within, fd, names[path], entry)
            finally:
                os.close(within)
            os.rmdir(aside, dir_fd=fd)
            places.sync(fd)
            places.sync(parent)
        except BaseException as e:
            _take_back(fd, [aside, *names.values()])
            if made:
                with contextlib.suppress(OSError):
                    os.rmdir(name, dir_fd=parent)
            if isinstance(e, OSError):
                raise _refusal(manifest, str(to), e) from e
            raise
    where = {path: str(to / final) for path, final in names.items()}
    return Built(where=where, notes=tally.all_notes(), files=tally.files)


@contextlib.contextmanager
def _target(to: Path) -> Iterator[tuple[bool, int, bytes, int]]:
    """(made by us, its parent, its name, itself): an empty directory that no link leads to but root's or our own.

    Raises HoldfastError.
    """
    made, held = False, []
    try:
        try:
            parent, name = opening.open_parent(str(to), None)
            held.append(parent)
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
                made = True
            fd = os.open(name, places.DIRECTORY, dir_fd=parent)
            held.append(fd)
            if not made and os.listdir(fd):
                raise errors.HoldfastError(errors.RESTORE_TARGET, path=to, reason="it is not empty")
        except OSError as e:
            reason = "it is a link" if e.errno == errno.ELOOP else e.strerror or str(e)
            raise errors.HoldfastError(errors.RESTORE_TARGET, path=to, reason=reason) from e
        yield made, parent, name, fd
    finally:
        for each in held:
            os.close(each)


def _free_name(fd: int, name: str) -> str:
    """Two state paths may end alike."""
    number, tried = 1, name
    while places.there(fd, tried) is not None:
        number += 1
        tried = f"{name}.{number}"
    return tried


def _move_out(within: int, fd: int, name: str, entry: Entry) -> None:
    """A directory gets another `..`, for which an ordinary user must be allowed to write in it."""
    closed = entry.kind is Kind.DIRECTORY and os.geteuid() != 0 and entry.mode & 0o300 != 0o300
    if closed:
        os.chmod(name, entry.mode | 0o700, dir_fd=within)
    places.move(within, name, fd, name)
    if closed:
        os.chmod(name, entry.mode, dir_fd=fd)


def _take_back(fd: int, names: list[str]) -> None:
    with contextlib.suppress(OSError):
        for name in names:
            places.Removal().tree(fd, name)


def _refusal(manifest: Manifest, path: str, e: OSError) -> errors.HoldfastError:
    if e.errno not in _FULL:
        return _failed(manifest.agent, e)
    try:
        status = os.statvfs(os.path.dirname(path) or "/")
        free = size(status.f_bavail * status.f_frsize)
    except OSError:
        free = "less"
    return errors.HoldfastError(errors.RESTORE_NO_SPACE, path=path, needed=f"up to {size(manifest.bytes)}", free=free)


def _failed(agent: str, e: OSError) -> errors.HoldfastError:
    where = f"{os.fsdecode(e.filename)}: " if e.filename else ""
    return errors.HoldfastError(errors.RESTORE_FAILED, agent=agent, reason=f"{where}{e.strerror or e}")
