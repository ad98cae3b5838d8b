"""An output that cannot be written is said as such."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [["--version"], ["explain", "HF2010"]])
def test_a_full_disk_behind_the_output_is_no_crash_of_ours(command: list[str], unbuffered: str, tmp_path: Path) -> None:
    told = {"PYTHONUNBUFFERED": unbuffered, "TMPDIR": str(tmp_path), "HOLDFAST_HOME": str(tmp_path / "home")}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "holdfast.cli", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **told},
        )
    assert done.returncode == 1
    assert done.stderr.startswith("HF3022 OutputFailed: the output could not be written: No space left on device\n")
    assert list(tmp_path.iterdir()) == []
