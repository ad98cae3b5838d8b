"""A moment without work before a gateway is ended: no turn under way may be lost.

OpenClaw finishes its turns while it stops. Hermes does not, but can be told by a file to take no new turns; it then
writes every second how many are left. Invariants: that file is written and removed with the rights of the gateway's
user; one that somebody else wrote is left alone; ours never outlives the step that needs it. Called by apply.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast import errors, limits
from holdfast.adoption.model import Adoption
from holdfast.errors import HoldfastError
from holdfast.node import processes

DRAIN = ".drain_request.json"  # Hermes' own; its presence asks for it
PRINCIPAL = "holdfast adopt"
LOOK_S = 0.2
_WRITE = (
    "import os,sys;p=sys.argv[1];t=p+'.tmp';f=os.open(t,os.O_WRONLY|os.O_CREAT|os.O_TRUNC|os.O_NOFOLLOW,0o600);"
    "os.write(f,sys.stdin.buffer.read());os.close(f);os.replace(t,p)"
)
_REMOVE = "import os,sys;os.unlink(sys.argv[1])"
Say = Callable[[str], None]


def wait(adoption: Adoption, say: Say, quiet_s: float) -> bool:
    """Until no turn is under way and none can begin; False when that took too long. 0: do not wait at all.

    True as well where it cannot be told, which is said.
    """
    if adoption.kind != "hermes" or quiet_s <= 0 or not _state(adoption):
        return True
    if _drain(adoption) is None:
        record = {
            "action": "drain",
            "requested_at": datetime.now(UTC).isoformat(),
            "principal": PRINCIPAL,
            "epoch": _epoch(),
            "suppress_notification": False,
        }
        put_as(adoption.uid, _path(adoption), json.dumps(record).encode())
    began_mono = said_mono = time.monotonic()
    while True:
        state, now_mono = _state(adoption), time.monotonic()
        drains = state.get("gateway_state") == "draining"
        at_work = state.get("active_agents") or 0
        if not state or (drains and not at_work):
            return True
        if not drains and now_mono - began_mono > limits.ADOPT_DRAIN_SEEN_S:
            say("it does not say whether it is at work: a turn under way may be cut off")
            return True
        if now_mono - began_mono > quiet_s:
            return False
        if drains and now_mono - said_mono > limits.ADOPT_SAY_S:
            said_mono = now_mono
            say(f"still at work on {at_work}; it takes no new ones meanwhile")
        time.sleep(LOOK_S)


def over(adoption: Adoption) -> None:
    """Turns are taken again: our file goes, another's stays. Raises ADOPTION_REFUSED."""
    found = _drain(adoption)
    if adoption.kind != "hermes" or found is None or found.get("principal") != PRINCIPAL:
        return
    _as_user(adoption.uid, [_REMOVE, _path(adoption)], b"")
    if os.path.lexists(_path(adoption)):
        raise HoldfastError(errors.ADOPTION_REFUSED, what=_path(adoption), reason="it cannot be removed")
    deadline_mono = time.monotonic() + limits.ADOPT_DRAIN_SEEN_S
    while _state(adoption).get("gateway_state") == "draining" and time.monotonic() < deadline_mono:
        time.sleep(LOOK_S)


def put_as(uid: int, path: str, data: bytes) -> None:
    """Write a small file with the rights of `uid`; a failure is no error, since nothing may be held up by it."""
    _as_user(uid, [_WRITE, path], data)


def _as_user(uid: int, arguments: list[str], data: bytes) -> None:
    rights: dict[str, Any] = {} if uid == os.geteuid() else {"user": uid}
    for program in dict.fromkeys((sys.executable, "/usr/bin/python3")):  # ours may be out of that user's reach
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command = [program, "-I", "-S", "-c", *arguments]
            done = subprocess.run(
                command,
                input=data,
                timeout=limits.STOP_FILES_TIMEOUT_S,
                check=False,
                cwd="/",
                stderr=subprocess.DEVNULL,
                **rights,
            )
            if done.returncode == 0:
                return


def _state(adoption: Adoption) -> dict[str, Any]:
    """What the living gateway last wrote about itself; {} when there is none."""
    found = _json(os.path.join(adoption.state_dir, "gateway_state.json")) or {}
    pid = found.get("pid")
    return found if isinstance(pid, int) and processes.stat(pid) is not None else {}


def _drain(adoption: Adoption) -> dict[str, Any] | None:
    """The request that lies there, {} for one that cannot be read; None when there is none."""
    return _json(_path(adoption)) if os.path.lexists(_path(adoption)) else None


def _path(adoption: Adoption) -> str:
    return os.path.join(adoption.state_dir, DRAIN)


def _json(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _epoch() -> str:
    """This boot of this machine, as Hermes names it: a request of an earlier one does not count."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    first = Path("/proc/1/stat").read_text().rsplit(")", 1)[1].split()[19]
    return f"{boot}:{first}"
