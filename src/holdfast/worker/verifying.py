"""The job `verify`: whether an agent's snapshots can be restored, looked at as deep as is asked for.

Called by jobs.py, in a child of the worker.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import msgspec

from holdfast.state import verify as checks
from holdfast.worker import opening
from holdfast.worker.jobs import Call

SCRATCH = "drill"  # below the agent's state directory: a restore drill's trees, gone after it


def verify(call: Call) -> dict[str, Any]:
    """answers.Checked. `how`: closure, sample, drill; with `all`: every block of every snapshot."""
    args = call.args
    how = "everything" if args.get("all") else str(args.get("how", "sample"))
    with opening.looked_at(args) as repository:
        if how == "everything":
            found = checks.everything(repository, progress=call.progress)
        elif how == "closure":
            found = checks.closure(repository, progress=call.progress)
        elif how == "drill":
            scratch = opening.directory(args) / SCRATCH
            if os.path.lexists(scratch):
                shutil.rmtree(scratch)  # of one that was killed
            found = checks.drill(repository, scratch, progress=call.progress)
        else:
            found = checks.sample(repository, progress=call.progress)
    told: dict[str, Any] = msgspec.to_builtins(found)
    return told
