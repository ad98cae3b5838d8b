"""Drills on a real Holdfast: the scorecard tells what happened, and nothing of the stage is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.drills import run, score, watch
from holdfast.drills.faults import FAULTS, Fault
from holdfast.drills.stage import Stage
from tests.harness.init_home import wait_until


@pytest.fixture
def stages() -> Iterator[Path]:
    """Where drills of this test make their stages. Every user must be able to pass through."""
    # Where /tmp is root's alone, TMPDIR is the user's own.
    made = Path(tempfile.mkdtemp(prefix="hf-stages-", dir="/tmp" if os.access("/tmp", os.W_OK) else None))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def _drill(home: Path, *arguments: str, stages: Path | None = None) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(home), "drill", *arguments]
    environment = os.environ if stages is None else {**os.environ, "TMPDIR": str(stages)}
    return subprocess.run(
        line, capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL, env=environment
    )


def _healed(home: Path, stages: Path, *faults: str) -> dict[str, dict[str, Any]]:
    """Result of each fault: caught and healed, and nothing is left. How fast is a matter of the machine."""
    done = _drill(home, "--json", *(word for name in faults for word in ("--fault", name)), stages=stages)
    card = json.loads(done.stdout)
    results = {result["fault"]: result for result in card["results"]}
    assert results.keys() == set(faults)
    for result in card["results"]:
        assert result["verdict"] == "passed" or _is_late(result), result
    failed = any(result["verdict"] == "failed" for result in card["results"])
    assert (done.returncode, card["passed"]) == (int(failed), not failed)
    assert Path(card["saved"]).is_file()
    assert list(stages.iterdir()) == []
    wait_until(lambda: not [pid for pid in filter(str.isdigit, os.listdir("/proc")) if _is_of(pid, stages)], "its end")
    return results


def _is_late(result: dict[str, Any]) -> bool:
    """It was caught and restored, only not in time."""
    said = ("caught after", "restored after", "the machine was starved meanwhile")
    return all(clause.startswith(said) for clause in result["detail"].split("; "))


def _is_of(pid: str, stages: Path) -> bool:
    try:
        return str(stages).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_drill_of_three_faults_passes_and_leaves_nothing(tmp_path: Path, stages: Path) -> None:
    _healed(tmp_path, stages, "kill", "kill-keeper", "fork-leak")


def test_an_agent_that_was_removed_and_one_whose_machine_is_lost_are_back_with_their_state(
    tmp_path: Path, stages: Path
) -> None:
    results = _healed(tmp_path, stages, "delete-agent", "lose-machine")
    lost = results["lose-machine"]
    assert "s lost" in lost["detail"] or _is_late(lost)


def test_a_drill_that_is_told_to_end_takes_its_stage_away(tmp_path: Path, stages: Path) -> None:
    line = [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(tmp_path), "drill", "--fault", "hang"]
    drill = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(stages)})
    assert drill.stderr is not None
    while "[1/1]" not in drill.stderr.readline():
        assert drill.poll() is None
    drill.terminate()
    drill.communicate(timeout=300)
    assert drill.returncode == 143
    assert list(stages.iterdir()) == []


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
