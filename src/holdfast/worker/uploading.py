"""The job `upload`: brings what is only here to the agent's second place, and tells how far that is behind.

Called by jobs.py, in a child of the worker.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from holdfast.state import lag, upload
from holdfast.state.lag import Lag
from holdfast.state.objects import StoreError
from holdfast.worker import opening
from holdfast.worker.jobs import Call


def send(call: Call) -> dict[str, Any]:
    """{"error": why it did not get through or "", "lasting", "lag": lag.Lag, "words": the lag for people}."""
    args, home = call.args, opening.directory(call.args)
    if not opening.exists(args):
        return _told(Lag(), args, "", lasting=False)
    try:
        done = upload.bring(home, args["store"], args["agent"], call.progress, now_at=time.time())
    except StoreError as error:
        behind = upload.standing(home, time.time()) or Lag()
        return _told(behind, args, str(error), lasting=error.lasting)
    return _told(done.lag, args, "", lasting=False)


def _told(behind: Lag, args: dict[str, Any], error: str, *, lasting: bool) -> dict[str, Any]:
    return {
        "error": error,
        "lasting": lasting,
        "lag": msgspec.to_builtins(behind),
        "words": lag.sentence(behind, "the second place"),
        "late": lag.is_late(behind, float(args["store_every_s"])),
    }
