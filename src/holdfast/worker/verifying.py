"""The job `verify`: whether an agent's snapshots can be restored, looked at as deep as is asked for.

Called by jobs.py, in a child of the worker.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import msgspec

from holdfast.state.answers import Checked
from holdfast.state.checks import scrub
from holdfast.state.checks import verify as checks
from holdfast.state.second_place import second_place
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository
from holdfast.worker import opening
from holdfast.worker.call import Call

SCRATCH = "drill"  # below the agent's state directory: a restore drill's trees, gone after it


def verify(call: Call) -> dict[str, Any]:
    """answers.Checked. `how`: closure, sample, drill; with `all`: every block of every snapshot.

    With the closure some packs are read again; one that is damaged comes back from the second place where that has it.
    """
    args = call.args
    how = "everything" if args.get("all") else str(args.get("how", "sample"))
    with opening.looked_at(args) as repository:
        if how == "everything":
            found = checks.everything(repository, progress=call.progress)
        elif how == "closure":
            found = _hourly(call, repository)
        elif how == "drill":
            scratch = opening.directory(args) / SCRATCH
            if os.path.lexists(scratch):
                shutil.rmtree(scratch)  # of one that was killed
            found = checks.drill(repository, scratch, progress=call.progress)
        else:
            found = checks.sample(repository, progress=call.progress)
    told: dict[str, Any] = msgspec.to_builtins(found)
    return told


def _hourly(call: Call, repository: Repository) -> Checked:
    home = opening.directory(call.args)
    suspects = scrub.look(repository.store, home / "cache", call.progress)
    mended = _mended(call.args, suspects) if suspects and call.args.get("store") else []
    found = checks.closure(repository, suspects=set(suspects) - set(mended), progress=call.progress)
    said = [f"pack {pack} was damaged here and came back whole from the second place" for pack in mended]
    return msgspec.structs.replace(found, said=[*found.said, *said])


def _mended(args: dict[str, Any], packs: list[str]) -> list[str]:
    """Best effort: what is wrong with the second place is told by its uploads."""
    try:
        return scrub.repair(
            opening.directory(args) / "repo", second_place.open_agent(args["store"], args["agent"]), packs
        )
    except (StoreError, OSError):
        return []
