"""Deleting a snapshot and having it back: its manifest moves to trash, and stays there until its time is over.

Invariants: the manifest is stored in its new place before it leaves the old one, so a kill leaves it in at least one;
nothing in trash goes before its time has surely passed, by the record of aging.py and not by a clock that jumped.
Blobs are not touched: gc keeps those of trash. Called under the repository's lock, by the worker and by thinning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from holdfast.errors import SNAPSHOT_AMBIGUOUS, SNAPSHOT_NOT_FOUND, HoldfastError
from holdfast.limits import TRASH_AGENT_S, TRASH_S
from holdfast.state.keeping.aging import Times
from holdfast.state.model import Snapshot
from holdfast.state.store import names
from holdfast.state.store.names import Trashed
from holdfast.state.store.repository import Repository

_DAY_S = 86_400.0


def remove(repository: Repository, snapshot: Snapshot, now: float, keep_s: float = TRASH_S) -> Trashed:
    """To trash until `now` + `keep_s` (wall clock). Raises Missing when it is not there, StoreError."""
    name = names.snapshot_object(snapshot)
    trashed = Trashed(snapshot=snapshot, deadline=math.ceil(now + keep_s))
    repository.store.put(trashed.object_name, repository.store.get(name))
    repository.store.delete(name)
    return trashed


def remove_all(repository: Repository, now: float, keep_s: float = TRASH_AGENT_S) -> list[Trashed]:
    """All live snapshots of a deleted agent; what was in trash before keeps its own time. Raises StoreError."""
    return [remove(repository, snapshot, now, keep_s) for snapshot in repository.snapshots()]


def find(repository: Repository, text: str) -> Trashed:
    """One in trash by the first digits of its id. Raises HoldfastError: none, several; StoreError."""
    wanted = text.strip().lower()
    found = {one.snapshot.id: one for one in repository.trashed() if wanted and one.snapshot.id.startswith(wanted)}
    if not found:
        raise HoldfastError(SNAPSHOT_NOT_FOUND, agent=repository.config.agent, snapshot=text)
    if len(found) > 1:
        raise HoldfastError(
            SNAPSHOT_AMBIGUOUS,
            agent=repository.config.agent,
            snapshot=text,
            count=len(found),
            listed=", ".join(one[: len(wanted) + 4] for one in sorted(found)),
        )
    return next(iter(found.values()))


def restore(repository: Repository, trashed: Trashed) -> Snapshot:
    """Back among the live ones. Raises Missing when its time is over, StoreError."""
    repository.store.put(names.snapshot_object(trashed.snapshot), repository.store.get(trashed.object_name))
    repository.store.delete(trashed.object_name)
    return trashed.snapshot


def restore_all(repository: Repository) -> list[Snapshot]:
    """All that is in trash. Raises StoreError."""
    return [restore(repository, one) for one in repository.trashed()]


def stays(trashed: Iterable[Trashed], now: float) -> dict[str, float]:
    """For aging.observe_trash: how long one that is met for the first time is to stay, by object name. Pure.

    Its deadline was written by a clock that may have jumped since, so that it is believed only within bounds.
    """
    return {one.object_name: min(max(one.deadline - now, TRASH_S), TRASH_AGENT_S) for one in trashed}


def is_over(one: Trashed, times: Times, now: float) -> bool:
    """Whether it may go for good. Pure. Both the time that surely passed and its shown deadline must be over.

    A deadline farther away than any that is given was written by a clock that ran ahead: it does not count.
    """
    due_s = times.due.get(one.object_name)
    if due_s is None or times.elapsed_s < due_s:
        return False
    return now >= one.deadline or one.deadline - now > TRASH_AGENT_S + _DAY_S


def expire(
    repository: Repository, times: Times, now: float, told: Callable[[list[str]], None] = lambda objects: None
) -> list[Trashed]:
    """Deletes those in trash whose time is over; a twin among the live ones stays. Raises StoreError.

    `told`: hears before that these objects, in the trash and before it, are gone for good.
    """
    over = [one for one in repository.trashed() if is_over(one, times, now)]
    if over:
        told([name for one in over for name in (one.object_name, names.snapshot_object(one.snapshot))])
    for one in over:
        repository.store.delete(one.object_name)
    return over
