"""The demo tells its story and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_without_a_terminal_the_demo_kills_recovers_stops_and_ends_with_one_line_of_json() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result) == {"agents", "recovered", "left_running"}
    assert 3 <= result["agents"] <= 5
    assert result["left_running"] == 0
    assert "keeper" in [entry["name"] for entry in result["recovered"]]
    assert len(result["recovered"]) == 2
    for entry in result["recovered"]:
        assert set(entry) == {"name", "pid_before", "pid_after", "restored_s"}
        assert entry["pid_after"] not in (None, entry["pid_before"])
        assert entry["restored_s"] > 0
