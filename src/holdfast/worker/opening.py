"""What a job works on: the agent's repository here, with the agent's rights beside it.

Invariants: a repository is made by the first snapshot alone; whoever only looks never makes one; of an agent that was
removed, those who look see what is in the trash, those who write do not. Called by the jobs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from holdfast import limits
from holdfast.errors import NO_SNAPSHOTS, STATE_IN_USE, HoldfastError
from holdfast.state.model import Manifest, Rights, Snapshot
from holdfast.state.second_place import second_place
from holdfast.state.store import keys, names
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.names import Trashed
from holdfast.state.store.objects import Missing
from holdfast.state.store.repository import Repository
from holdfast.state.store.spare import Spare
from holdfast.state.store.writing import Held, lock

_LOCK_LOOK_S = 0.05


def directory(args: dict[str, Any]) -> Path:
    """HOME/state/AGENT."""
    return Path(args["directory"])


def rights(args: dict[str, Any]) -> Rights | None:
    """Whose rights the agent's files are touched with; None: our own."""
    told = args.get("rights")
    return None if told is None else Rights(uid=told[0], gid=told[1], groups=tuple(told[2]))


def exists(args: dict[str, Any]) -> bool:
    return os.path.exists(directory(args) / "repo" / names.CONFIG)


class WithTrash(Repository):
    """A repository whose deleted snapshots count as well: all that is left of an agent that was removed."""

    _gone: dict[str, Trashed] | None = None  # by id; what is in the trash changes rarely while somebody looks

    def _in_trash(self) -> dict[str, Trashed]:
        if self._gone is None:
            self._gone = {one.snapshot.id: one for one in self.trashed()}
        return self._gone

    def snapshots(self) -> list[Snapshot]:
        found = {one.snapshot.id: one.snapshot for one in self._in_trash().values()}
        found.update((one.id, one) for one in super().snapshots())
        return sorted(found.values(), key=lambda one: (one.seq, one.epoch, one.id))

    def manifest(self, of: Snapshot | Trashed) -> Manifest:
        try:
            return super().manifest(of)
        except Missing:
            gone = self._in_trash().get(of.id) if isinstance(of, Snapshot) else None
            if gone is None:
                raise
        return super().manifest(gone)


def looked_at(args: dict[str, Any]) -> AbstractContextManager[Repository]:
    """For jobs that only read: of a removed agent with its trash. As `repository`."""
    return repository(args, kind=WithTrash if args.get("gone") else Repository)


@contextmanager
def locked(args: dict[str, Any]) -> Iterator[Held]:
    """The one writer. Another job of it may be ending just now, of a keeper that was killed: it is given that time.

    Raises HoldfastError when somebody else writes for longer, OSError.
    """
    deadline_mono = time.monotonic() + limits.WORKER_JOB_ENDS_S + 1.0
    with ExitStack() as stack:
        while True:
            try:
                held = stack.enter_context(lock(directory(args)))
                break
            except HoldfastError as error:
                if error.kind is not STATE_IN_USE or time.monotonic() > deadline_mono:
                    raise
            time.sleep(_LOCK_LOOK_S)
        yield held


@contextmanager
def repository(
    args: dict[str, Any], *, make: bool = False, kind: type[Repository] = Repository
) -> Iterator[Repository]:
    """The agent's, which reads in the second place what is damaged or missing here, and says so in args["mended"].

    Raises HoldfastError NO_SNAPSHOTS when there is none and none is to be made, and StoreError.
    """
    recovery = keys.recovery_key(Path(args["state_dir"]))
    home = directory(args)
    store, cache = LocalStore(home / "repo", leaves_room=True), home / "cache"
    url = args.get("store")
    try:
        found = kind.open(store, recovery, cache)
        if url and not make:
            # Not for what makes snapshots: it forks helpers, and the second place's client is no friend of forks.
            told: list[str] = args.setdefault("mended", [])
            found.spare = Spare(store, lambda: second_place.look_at(url, args["agent"]), told.append)
    except Missing:
        if not make:
            raise HoldfastError(NO_SNAPSHOTS, agent=args["agent"]) from None
        found = Repository.create(store, args["agent"], recovery, encrypt=bool(args["encrypt"]), cache=cache)
    with closing(found):
        yield found
