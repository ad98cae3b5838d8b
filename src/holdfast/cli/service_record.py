"""What `holdfast service install` did, as kept in HOME/service.json, and the unit it names.

Invariant: a record that cannot be read counts as none. Called by the commands that install, start and renew.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from holdfast import errors
from holdfast.errors import HoldfastError
from holdfast.home import Home

if TYPE_CHECKING:
    from holdfast.node.systemd import Systemctl

RECORD = "service.json"


def start_unit(home: Home) -> bool:
    """Start Holdfast through its installed unit; False when there is none or systemd refuses."""
    record = read_record(home)
    if record is None or record.get("kind") != "systemd":
        return False
    return manager_of(record["scope"]).try_to("start", record["unit"]) == ""


def read_record(home: Home) -> dict[str, Any] | None:
    try:
        found = json.loads((home.path / RECORD).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("kind") in ("systemd", "cron") else None


def write_record(home: Home, record: dict[str, Any]) -> None:
    from holdfast.files import write_atomic

    try:
        write_atomic(home.path / RECORD, json.dumps({"version": 1, **record}, indent=1).encode() + b"\n")
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=home.path, reason=error.strerror or error) from error


def manager_of(scope: str) -> Systemctl:
    from holdfast.node.systemd import Systemctl

    return Systemctl("system" if scope == "system" else "user", os.getuid())
