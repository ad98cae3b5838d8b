"""Jobs that change which snapshots there are: deleting and having back, pins, thinning, collecting what nobody needs.

Invariant: each holds the repository's lock from before it looks until after it acted. Results have the shapes of
state/answers.py. Called by jobs.py, in a child of the worker.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from holdfast import limits
from holdfast.errors import SNAPSHOT_NOT_FOUND, HoldfastError
from holdfast.state.answers import Collected, Pinned, Removed
from holdfast.state.checks import proof, scrub
from holdfast.state.keeping import aging, gc, thinning, trash
from holdfast.state.model import Pin, Snapshot
from holdfast.state.restore import exchange, kept_trees
from holdfast.state.second_place.upload_queue import Queue
from holdfast.state.store import names, writing
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.names import Trashed
from holdfast.state.store.repository import Repository
from holdfast.state.store.spare import forget_damaged
from holdfast.worker import listing, opening
from holdfast.worker.call import Call

KNOWN_GOOD = "known-good"
DELETED = "deleted.json"  # see keeper/state/removing.py; in the record of ages the removed agent as a whole
SCRATCH = "proof"  # below the agent's state directory: databases being checked, gone after it
KNOWN_GOOD_KEPT = 2  # the present one and the one before, should the present one prove bad


@contextmanager
def _held(call: Call) -> Iterator[Repository]:
    if not opening.exists(call.args):  # says so before anything is made
        with opening.repository(call.args):
            pass
    with opening.locked(call.args), opening.repository(call.args) as repository:
        yield repository


# --- one snapshot ------------------------------------------------------------------------------------------------
def delete(call: Call) -> dict[str, Any]:
    """answers.Removed of `snapshot`, a whole id."""
    with _held(call) as repository:
        trashed = trash.remove(repository, repository.find(call.args["snapshot"]), time.time())
        return {"id": trashed.snapshot.id, "until": float(trashed.deadline)}


def undelete(call: Call) -> dict[str, Any]:
    """answers.Removed of `snapshot`, which is in the trash."""
    with _held(call) as repository:
        found = trash.restore(repository, trash.find(repository, call.args["snapshot"]))
        return _plain(Removed(id=found.id))


def pin(call: Call) -> dict[str, Any]:
    """answers.Pinned: `snapshot` has the pin `why`, or with `pinned` false has it no longer."""
    with _held(call) as repository:
        found = repository.find(call.args["snapshot"])
        one = Pin(id=found.id, why=str(call.args["why"]))
        if call.args.get("pinned", True):
            repository.store.put(names.pin_object(one), b"")
        else:
            repository.store.delete(names.pin_object(one))
        return _plain(Pinned(id=found.id, pins=listing.pins_of(repository).get(found.id, ())))


def prove(call: Call) -> dict[str, Any]:
    """Whether `snapshot` may become known-good: {"faults", "unchecked": sentences, "looked": files}. Writes nothing."""
    scratch = opening.directory(call.args) / SCRATCH
    with opening.repository(call.args) as repository:
        found = repository.find(call.args["snapshot"])
        good = {one.id for one in repository.pins() if one.why == KNOWN_GOOD}
        former = [one for one in repository.snapshots() if one.id in good and one.seq <= found.seq]
        if os.path.lexists(scratch):
            shutil.rmtree(scratch)  # of one that was killed
        told = proof.prove(repository, found, former[-1] if former else None, scratch, call.progress)
    return _plain(told)


def mark_good(call: Call) -> dict[str, Any]:
    """`snapshot` becomes known-good; of the former ones the newest stays so, the others are no longer.

    {"id", "new": whether it was not so before}. Raises HoldfastError when it is not there any more.
    """
    with _held(call) as repository:
        found = repository.find(call.args["snapshot"])
        repository.manifest(found)  # what cannot be read is no way back
        live = {one.id: one.seq for one in repository.snapshots()}
        held = [one for one in repository.pins() if one.why == KNOWN_GOOD]
        is_new = all(one.id != found.id for one in held)
        if is_new:
            one = Pin(id=found.id, why=KNOWN_GOOD)
            repository.store.put(names.pin_object(one), b"")
            held.append(one)
        held.sort(key=lambda one: live.get(one.id, -1))
        for former in held[:-KNOWN_GOOD_KEPT]:
            repository.store.delete(names.pin_object(former))
        return {"id": found.id, "new": is_new}


# --- all of an agent ---------------------------------------------------------------------------------------------
def remove(call: Call) -> dict[str, Any]:
    """Everything to the trash, for an agent that was removed. {"snapshots", "until"}"""
    if not opening.exists(call.args):
        return {"snapshots": 0, "until": None}
    with _held(call) as repository:
        gone = trash.remove_all(repository, time.time())
        return {"snapshots": len(gone), "until": time.time() + limits.TRASH_AGENT_S}


def bring_back(call: Call) -> dict[str, Any]:
    """All that is in the trash, for an agent that comes back. {"snapshots", "newest": id}"""
    if not opening.exists(call.args):
        return {"snapshots": 0, "newest": ""}
    with _held(call) as repository:
        back = trash.restore_all(repository)
        live = repository.snapshots()
        return {"snapshots": len(back), "newest": live[-1].id if live else ""}


def clear_removed(call: Call) -> dict[str, Any]:
    """An agent that was removed: its trash empties in its time, and when nothing can be had back any more, all that is
    kept of it goes. {"over"}. A live snapshot keeps everything: somebody may want it.
    """
    args, home = call.args, opening.directory(call.args)
    with opening.locked(args):
        clocks, kept = aging.read_clocks(), 0
        stay_s = {DELETED: min(max(args["until_at"] - clocks.at, 0.0), limits.TRASH_AGENT_S)}
        times = aging.advance(aging.load(home / thinning.TIMES), clocks)
        if opening.exists(args):
            with opening.repository(args) as repository:
                times = aging.observe_trash(times, stay_s | trash.stays(repository.trashed(), clocks.at))
                aging.save(home / thinning.TIMES, times)
                trash.expire(repository, times, clocks.at)
                kept = len(repository.snapshots()) + len(repository.trashed())
        else:
            times = aging.observe_trash(times, stay_s)
            aging.save(home / thinning.TIMES, times)
        if kept or times.elapsed_s < times.due[DELETED] or clocks.at < args["until_at"]:
            return {"over": False}
        kept_trees.drop(home, clocks.at, everything=True)
        if kept_trees.load(home) or not exchange.settle(home):
            return {"over": False}
        _clear(home)
    return {"over": True}


def _clear(home: Path) -> None:
    """The definition goes last: as long as it is there, this is done again."""
    last = (DELETED, writing.LOCK)
    for name in os.listdir(home):
        path = home / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif name not in last:
            path.unlink()
    for name in last:
        (home / name).unlink(missing_ok=True)
    home.rmdir()


def tidy(call: Call) -> dict[str, Any]:
    """Retention, the disk budget and a collection. {"taken", "early", "expired", "said", "freed_bytes", "refused"}"""
    args = call.args
    with _held(call) as repository:
        home = opening.directory(args)
        healthy = {one.id for one in repository.pins() if one.why == KNOWN_GOOD}
        found = thinning.thin(
            repository,
            home,
            aging.read_clocks(),
            healthy=healthy,
            budget_bytes=budget_bytes(args),
            told=lambda objects: _gone_for_good(args, objects),
        )
        collected = _collect(call, repository, dry_run=False)
        forget_damaged(LocalStore(home / "repo"), limits.DAMAGED_KEPT_S)
    return {
        "taken": [one.snapshot.id for one in found.taken],
        "early": [one.snapshot.id for one in found.early],
        "expired": found.expired,
        "said": found.said,
        "freed_bytes": collected.freed_bytes,
        "refused": collected.refused,
        "trouble": collected.trouble,
    }


def _gone_for_good(args: dict[str, Any], objects: list[str]) -> None:
    """So that the second place deletes them as well, also where no upload saw them in the trash. Raises OSError, ..."""
    if args.get("store"):
        with Queue(opening.directory(args)) as queue:
            queue.note_deleted(objects)


def collect(call: Call) -> dict[str, Any]:
    """answers.Collected."""
    with _held(call) as repository:
        return _plain(_collect(call, repository, dry_run=bool(call.args.get("dry_run"))))


def _collect(call: Call, repository: Repository, *, dry_run: bool) -> Collected:
    times = thinning.look(opening.directory(call.args), repository, aging.read_clocks())
    bad = scrub.known_bad(opening.directory(call.args) / "cache")
    return gc.run(
        repository, time.time(), dry_run=dry_run, elapsed_s=times.elapsed_s, doubtful=bad, progress=call.progress
    )


def budget_bytes(args: dict[str, Any]) -> int:
    """The agent's own, else the default for the disk that its repository lies on."""
    declared = args.get("budget_bytes")
    if declared is not None:
        return int(declared)
    disk = os.statvfs(opening.directory(args))
    return min(limits.SNAPSHOT_BUDGET_BYTES, int(disk.f_blocks * disk.f_frsize * limits.SNAPSHOT_BUDGET_SHARE))


def find(repository: Repository, snapshot_id: str) -> Snapshot | Trashed:
    """A live snapshot or one in the trash, by its whole id. Raises HoldfastError, StoreError."""
    for live in repository.snapshots():
        if live.id == snapshot_id:
            return live
    for gone in repository.trashed():
        if gone.snapshot.id == snapshot_id:
            return gone
    raise HoldfastError(SNAPSHOT_NOT_FOUND, agent=repository.config.agent, snapshot=snapshot_id)


def _plain(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(answer)
    return found
