"""What a job works on: the agent's repository here, with the agent's rights beside it.

Invariant: a repository is made by the first snapshot alone; whoever only looks never makes one. Called by the jobs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from holdfast.errors import NO_SNAPSHOTS, HoldfastError
from holdfast.state import keys, names
from holdfast.state.local_store import LocalStore
from holdfast.state.model import Rights
from holdfast.state.objects import Missing
from holdfast.state.repository import Repository


def directory(args: dict[str, Any]) -> Path:
    """HOME/state/AGENT."""
    return Path(args["directory"])


def rights(args: dict[str, Any]) -> Rights | None:
    """Whose rights the agent's files are touched with; None: our own."""
    told = args.get("rights")
    return None if told is None else Rights(uid=told[0], gid=told[1], groups=tuple(told[2]))


def exists(args: dict[str, Any]) -> bool:
    return os.path.exists(directory(args) / "repo" / names.CONFIG)


@contextmanager
def repository(args: dict[str, Any], *, make: bool = False) -> Iterator[Repository]:
    """The agent's. Raises HoldfastError NO_SNAPSHOTS when there is none and none is to be made, and StoreError."""
    recovery = keys.recovery_key(Path(args["state_dir"]))
    home = directory(args)
    store, cache = LocalStore(home / "repo"), home / "cache"
    try:
        found = Repository.open(store, recovery, cache)
    except Missing:
        if not make:
            raise HoldfastError(NO_SNAPSHOTS, agent=args["agent"]) from None
        found = Repository.create(store, args["agent"], recovery, encrypt=bool(args["encrypt"]), cache=cache)
    with closing(found):
        yield found
