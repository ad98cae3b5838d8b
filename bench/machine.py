"""What stands beside every result: the machine, the load on it, versions, the date. Names no host."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Facts that do not change during a run."""
    return {
        "cpu": _field("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_field("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0) / 1024**2, 1),
        "kernel": platform.release(),
        "system": _field("/etc/os-release", r'PRETTY_NAME="(.+)"') or platform.system(),
        "python": platform.python_version(),
        "cgroups": _cgroups(),
        "root": os.getuid() == 0,
    }


def load() -> list[float]:
    """Load averages over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def revision(root: Path) -> str:
    """The commit that is checked out, shortened; "unknown" outside of git."""
    try:
        head = (root / ".git/HEAD").read_text().strip()
        if head.startswith("ref: "):
            head = (root / ".git" / head.removeprefix("ref: ")).read_text().strip()
    except OSError:
        return "unknown"
    return head[:10]


def now() -> str:
    """Date and time in UTC."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def _cgroups() -> str:
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "v2"
    return "v1" if Path("/sys/fs/cgroup/memory").exists() else "none"


def _field(path: str, pattern: str) -> str | None:
    try:
        found = re.search(pattern, Path(path).read_text())
    except OSError:
        return None
    return found.group(1).strip() if found else None
