"""What the keeper wants done with agents' logs, as the logger's helper processes read it: HOME/logger/settings.json.

Invariant: an agent that is not named (it was taken out of the fleet) has the defaults, so its logs age and go like all
others. The file holds secrets (headers of shipping) and is readable by its owner only. Written by
keeper/watching/log_settings.py; read by archivist.py, shipper.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct, field

from holdfast import limits
from holdfast.logs import settings
from holdfast.spec.model import Logs


class AgentWanted(Struct, frozen=True, kw_only=True):
    """One agent of the fleet."""

    logs: Logs = field(default_factory=Logs)
    labels: dict[str, str] = {}


class Wanted(Struct, frozen=True, kw_only=True):
    """All of settings.json. `node_bytes`: of all agents' logs together; None: computed from the disk."""

    version: int = 1
    node_bytes: int | None = None
    agents: dict[str, AgentWanted] = {}

    def of(self, agent: str) -> AgentWanted:
        return self.agents.get(agent) or _DEFAULT


_DEFAULT = AgentWanted()


def read(home: str | Path) -> Wanted:
    """What stands there; the defaults for all when there is nothing usable."""
    try:
        data = Path(home, settings.DIRECTORY, settings.SETTINGS).read_bytes()
        return msgspec.json.decode(data, type=Wanted)
    except (OSError, msgspec.DecodeError):
        return Wanted()


def limit_of(logs: Logs) -> settings.Limit:
    """What the logger itself has to know. A cap of all files is also one of the single file."""
    size = logs.max_size_bytes if logs.total_bytes is None else min(logs.max_size_bytes, logs.total_bytes // 2)
    return (max(limits.LOG_FILE_MIN_BYTES, size), max(1, logs.max_files), logs.rate_lines_s or 0)


def node_cap_bytes(home: str | Path, wanted: Wanted) -> int:
    """Bytes that the logs of all agents may take together. Raises OSError."""
    if wanted.node_bytes is not None:
        return wanted.node_bytes
    disk = os.statvfs(home)
    return min(limits.LOG_NODE_BYTES, int(disk.f_blocks * disk.f_frsize * limits.LOG_NODE_SHARE))
