"""Telling an agent that the stop which is coming is planned: a file it may read when the signal arrives.

The file lies in Holdfast's own directory of the agent, which the agent can read and not change; its name is in
HOLDFAST_STOP_FILE. Invariant: it names the instance it is meant for, so that one left from an earlier stop misleads
nobody; a disk that takes no more never holds up a stop. Called by keeper.places.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

NAME = "stop.json"
ENV = "HOLDFAST_STOP_FILE"


def path_in(directory: Path) -> Path:
    """`directory`: the agent's own, HOME/agents/NAME."""
    return directory / NAME


def write(directory: Path, *, instance: int, what: str, grace_s: float, at: float) -> None:
    """`what`: stop, restart or down. Not fsynced: after a power cut nobody is there to read it."""
    body = {"planned": True, "what": what, "instance": instance, "grace_s": grace_s, "at": round(at, 3)}
    path = path_in(directory)
    with contextlib.suppress(OSError):
        new = path.with_suffix(".new")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(fd, "w") as file:
            os.fchmod(file.fileno(), 0o644)
            json.dump(body, file)
        os.replace(new, path)
