"""Drills on a real Holdfast: the scorecard tells what happened, and nothing of the stage is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from holdfast.drills import run, score, watch
from holdfast.drills.faults import FAULTS, Fault
from holdfast.drills.stage import Stage


def _drill(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(home), "drill", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=110, stdin=subprocess.DEVNULL)


def test_a_drill_of_three_faults_passes_and_leaves_nothing(tmp_path: Path) -> None:
    before = set(os.listdir("/tmp"))
    done = _drill(tmp_path, "--json", "--fault", "kill", "--fault", "kill-keeper", "--fault", "fork-leak")
    card = json.loads(done.stdout)
    verdicts = {result["fault"]: result["verdict"] for result in card["results"]}
    assert verdicts == {"kill": "passed", "kill-keeper": "passed", "fork-leak": "passed"}, card
    assert done.returncode == 0
    assert card["passed"] is True
    assert Path(card["saved"]).is_file()
    assert not [name for name in set(os.listdir("/tmp")) - before if name.startswith("holdfast-drill-")]
    left = subprocess.run(["pgrep", "-f", "holdfast-drill-"], capture_output=True, text=True, check=False).stdout
    assert not [pid for pid in left.split() if _is_ours(int(pid), tmp_path)]


def _is_ours(pid: int, home: Path) -> bool:
    try:
        return str(home).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_an_agent_that_was_removed_and_one_whose_machine_is_lost_are_back_with_their_state(tmp_path: Path) -> None:
    done = _drill(tmp_path, "--json", "--fault", "delete-agent", "--fault", "lose-machine")
    results = {result["fault"]: result for result in json.loads(done.stdout)["results"]}
    assert {name: result["verdict"] for name, result in results.items()} == {
        "delete-agent": "passed",
        "lose-machine": "passed",
    }, results
    assert "s lost" in results["lose-machine"]["detail"]


def test_a_drill_that_is_told_to_end_takes_its_stage_away(tmp_path: Path) -> None:
    line = [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(tmp_path), "drill", "--fault", "hang"]
    # Every user must be able to pass through; where /tmp is root's alone, TMPDIR is the user's own.
    stages = Path(tempfile.mkdtemp(prefix="hf-stages-", dir="/tmp" if os.access("/tmp", os.W_OK) else None))
    stages.chmod(0o755)
    drill = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(stages)})
    assert drill.stderr is not None
    while "[1/1]" not in drill.stderr.readline():
        assert drill.poll() is None
    drill.terminate()
    drill.communicate(timeout=110)
    assert drill.returncode == 143
    assert list(stages.iterdir()) == []
    stages.rmdir()


def test_nobody_is_hurt_without_being_asked(tmp_path: Path) -> None:
    done = _drill(tmp_path, "assistant")
    assert done.returncode == 2
    assert "say --yes" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--fault", "kil"), "did you mean kill?"),
        (("assistant", "--fault", "spin"), "run it without AGENT"),
        (("assistant", "--fault", "lose-machine"), "run it without AGENT"),
    ],
)
def test_a_wrong_fault_is_named(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = _drill(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr


class _Idle(Stage):
    """A Holdfast that does nothing about anything."""

    throw_away = True

    def __init__(self, pid: int) -> None:
        self.agent = "a"
        self.shown = {
            "name": "a", "pid": pid, "instance": 1, "phase": "healthy", "why": "",
            "health": {"process": "ok", "endpoint": "ok", "behaviour": "off"},
        }  # fmt: skip

    def status(self) -> dict[str, object]:
        processes = [{"name": name, "pid": 1} for name in ("guard", "init", "keeper", "logger")]
        return {"holdfast": {"processes": processes}, "agents": [self.shown]}

    def starved(self) -> bool:
        return False

    def incidents(self) -> list[dict[str, object]]:
        return []


def test_a_holdfast_that_heals_nothing_fails_its_drill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATCH_MIN_S", 0.2)
    monkeypatch.setattr(watch, "WATCH_MAX_FACTOR", 0.0)
    victim = subprocess.Popen(["sleep", "60"])
    fault: Fault = FAULTS["kill"]
    try:
        result = run.try_fault(_Idle(victim.pid), fault, 0.0)
    finally:
        victim.kill()
        victim.wait()
    assert result == score.judge(fault, "a", 0.0, None, None, "", "")
    assert result.verdict == "failed"
