"""Whether a process is outside of its memory cgroup: only one that still has memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from holdfast.keeper.density.groups import _is_inside


def test_a_process_elsewhere_is_outside_and_one_that_ends_is_not(tmp_path: Path) -> None:
    group = tmp_path / "holdfast-none" / "agent.1"
    group.mkdir(parents=True)
    for name in ("memory.high", "memory.limit_in_bytes"):
        (group / name).touch()
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as dead:
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)  # it stays, as a process that nobody has reaped
        for v2, v1 in ((str(group), []), (None, [str(group)])):
            assert not _is_inside(os.getpid(), v2, v1)
            assert _is_inside(dead.pid, v2, v1)
