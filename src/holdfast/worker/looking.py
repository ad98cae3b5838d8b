"""Jobs that read an agent's snapshots and change nothing. Results have the shapes of state/answers.py.

Called by jobs.py, in a child of the worker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.state import keys
from holdfast.worker.jobs import Call


def key(call: Call) -> dict[str, Any]:
    """The machine's recovery key, as hex: what reads its snapshots elsewhere."""
    state_dir = Path(call.args["state_dir"])
    return {"key": keys.recovery_key(state_dir).hex(), "path": str(state_dir / keys.FILE_NAME)}
