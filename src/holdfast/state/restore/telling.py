"""Telling an agent what it lost: RESTORED.json, which it finds when it starts on an older state.

Invariant: written with the agent's rights, whole or not at all, following no link at its name. Called by whoever
restores, between the exchange and the start.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

from msgspec import Struct

from holdfast.state.identity import acting_as
from holdfast.state.model import Rights
from holdfast.state.restore import places

RESTORED_NAME = "RESTORED.json"


class Lost(Struct, frozen=True, kw_only=True):
    """`at`: of the snapshot, wall clock seconds. `lost_s`: what was done since is not there any more.

    `damaged`: where the former trees lie, while they are kept.
    """

    snapshot: str
    at: float
    lost_s: float
    damaged: tuple[str, ...] = ()
    reason: str = ""


def text(lost: Lost) -> bytes:
    """The file's content; fields are only ever added."""
    when = datetime.fromtimestamp(lost.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    said = {
        "snapshot": lost.snapshot,
        "at": when,
        "lost_s": round(lost.lost_s, 1),
        "damaged": list(lost.damaged),
        "reason": lost.reason,
    }
    return json.dumps(said, indent=2).encode() + b"\n"


def told(directory: str, rights: Rights | None, lost: Lost) -> str:
    """Write it into an agent's directory, over the one of a former restore; its path. Raises OSError."""
    path = os.path.join(directory, RESTORED_NAME)
    temporary = f".{RESTORED_NAME}.{os.urandom(4).hex()}"
    with places.opened(path, rights) as fd:
        with acting_as(rights):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(temporary, flags, 0o644, dir_fd=fd)
            try:
                with open(file, "wb") as out:
                    out.write(text(lost))
                    out.flush()
                    os.fsync(file)
                os.rename(temporary, RESTORED_NAME, src_dir_fd=fd, dst_dir_fd=fd)
            except BaseException:
                os.unlink(temporary, dir_fd=fd)
                raise
        places.sync(fd)
    return path
