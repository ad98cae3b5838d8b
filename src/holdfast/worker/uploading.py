"""The jobs about an agent's second place: bring there what is only here, and collect what is needed by nobody there.

Called by jobs.py, in a child of the worker.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from holdfast.state.answers import Collected
from holdfast.state.keeping import aging, gc, thinning
from holdfast.state.second_place import fence, lag, second_place, upload
from holdfast.state.second_place.lag import Lag
from holdfast.state.second_place.upload_queue import Queue
from holdfast.state.store import keys, names
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import Missing, StoreError
from holdfast.state.store.repository import Repository
from holdfast.worker import opening
from holdfast.worker.call import Call


def send(call: Call) -> dict[str, Any]:
    """{"error": why it did not get through or "", "lasting", "lag": lag.Lag, "words": the lag for people, "late",
    "same_disk": the second place lies on this home's own disk}."""
    args, home = call.args, opening.directory(call.args)
    if not opening.exists(args):
        return _told(Lag(), args, "", lasting=False)
    try:
        done = upload.bring(home, args["store"], args["agent"], call.progress, now_at=time.time())
    except StoreError as error:
        behind = upload.standing(home, time.time()) or Lag()
        fenced = isinstance(error, fence.Fenced)  # no later upload will help: somebody should hear of it at once
        return {**_told(behind, args, str(error), lasting=error.lasting), **({"late": True} if fenced else {})}
    return _told(done.lag, args, "", lasting=False)


def collect(call: Call) -> dict[str, Any]:
    """answers.Collected, of the second place: packs that this machine never deleted by name, and has no longer.

    What the first place holds stays there. Raises StoreError where the place does not answer.
    """
    args, home = call.args, opening.directory(call.args)
    with Queue(home) as queue:
        upload.check_disk(queue, args["store"], home)
    here = LocalStore(home / "repo")
    keep = frozenset(name for one in here.list(names.PACKS) if (name := names.read_pack(one.name)) is not None)
    times = aging.advance(aging.load(home / thinning.TIMES), aging.read_clocks())
    there, recovery = second_place.open_agent(args["store"], args["agent"]), keys.recovery_key(Path(args["state_dir"]))
    try:
        repository = Repository.open(there, recovery, home / "cache" / "second")
    except Missing:
        return _plain(Collected(dry_run=False))  # nothing is there yet
    with closing(repository):
        fence.check(home, there)
        if there.get(names.CONFIG) != here.get(names.CONFIG):
            return _plain(Collected(dry_run=False, refused=f"{there.where} holds another repository"))
        found = gc.run(
            repository, time.time(), elapsed_s=times.elapsed_s, keep=keep, repack=False, progress=call.progress
        )
    return _plain(found)


def _plain(found: Collected) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(found)
    return told


def _told(behind: Lag, args: dict[str, Any], error: str, *, lasting: bool) -> dict[str, Any]:
    return {
        "error": error,
        "lasting": lasting,
        "lag": msgspec.to_builtins(behind),
        "words": lag.sentence(behind, "the second place"),
        "late": lag.is_late(behind, float(args["store_every_s"])),
        "same_disk": _same_disk(args),
    }


def _same_disk(args: dict[str, Any]) -> bool:
    """False also where the place is away."""
    try:
        return not second_place.on_other_disk(args["store"], opening.directory(args))
    except (StoreError, OSError):
        return False
