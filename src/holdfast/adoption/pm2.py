"""pm2 as a tool: stop an app, start it again. Its entry is never deleted.

Invariants: its saved list is written only where it names the app, else the next boot would start a second gateway, or
none; every act may be repeated. Runs as the user whose pm2 it is. Called by former.py.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from holdfast import errors, limits
from holdfast.adoption.model import Former
from holdfast.errors import HoldfastError
from holdfast.node import systemd


def program(former: Former) -> str:
    """Where it is. Raises ADOPTION_REFUSED when it is nowhere: then nothing may be begun."""
    found = shutil.which("pm2", path=_search(former))
    if found is None:
        reason = "no program pm2 on its PATH or on yours, and pm2 would start it again"
        raise HoldfastError(errors.ADOPTION_REFUSED, what=former.name, reason=reason)
    return found


def is_saved(former: Former) -> bool:
    """Whether `pm2 resurrect`, at the next boot, knows the app."""
    try:
        entries = json.loads(Path(former.pm2_home, "dump.pm2").read_bytes())
    except (OSError, ValueError):
        return False
    return any(isinstance(each, dict) and each.get("name") == former.name for each in entries)


def stop(former: Former, timeout_s: float) -> None:
    """Raises SERVICE_FAILED."""
    _run(former, "stop", former.name, timeout_s=timeout_s)
    if former.was_enabled:
        _run(former, "save", "--force")


def start(former: Former) -> None:
    """As it was before. A pm2 that was started anew meanwhile reads its saved list first. Raises SERVICE_FAILED."""
    if former.was_active:
        try:
            _run(former, "start", former.name, timeout_s=limits.ADOPT_START_S)
        except HoldfastError:
            if not former.was_enabled:
                raise
            _run(former, "resurrect", timeout_s=limits.ADOPT_START_S)
            _run(former, "start", former.name, timeout_s=limits.ADOPT_START_S)
    if former.was_enabled:
        _run(former, "save", "--force")


def _run(former: Former, *arguments: str, timeout_s: float = limits.SYSTEMCTL_TIMEOUT_S) -> None:
    own = {"PM2_HOME": former.pm2_home, "PATH": _search(former)}
    done = systemd.run_as(former.uid, [program(former), *arguments], timeout_s, own)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        reason = words[-1] if words else f"exit code {done.returncode}"
        raise HoldfastError(errors.SERVICE_FAILED, program=f"pm2 {arguments[0]}", reason=reason)


def _search(former: Former) -> str:
    own = os.environ.get("PATH", os.defpath)
    return f"{former.search}:{own}" if former.search else own
