"""Every drill about the node's memory, on real processes and whatever cgroups this machine has, and without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.drills import memory_stage
from holdfast.drills.faults import FAULTS

pytestmark = [pytest.mark.full, pytest.mark.timeout(1500)]
NAMES = [fault.name for fault in FAULTS.values() if fault.memory]
PROVEN = ("leak", "spike", "fork-memory", "start-storm")  # with any cgroups and without
STARVED = "the machine was starved meanwhile"  # so says a drill whose times mean nothing
TRIES = 2  # a drill measures time, and a machine may be busy with something else


@pytest.mark.parametrize("cgroups", ["auto", "none"])
def test_no_important_agent_notices_what_happens_to_the_memory(tmp_path: Path, cgroups: str) -> None:
    if why := memory_stage.unfit():
        pytest.skip(why)
    results: dict[str, dict[str, Any]] = {}
    for _ in range(TRIES):
        again = [name for name in NAMES if name not in results or name in _late(results)]
        if again:
            results |= _drill(tmp_path, again, cgroups)
    assert set(results) == set(NAMES)
    failed = {name: result for name, result in results.items() if result["verdict"] == "failed"}
    assert not failed
    skipped = [name for name in PROVEN if results[name]["verdict"] != "passed"]
    if skipped and all(STARVED in results[name]["detail"] for name in skipped):
        pytest.skip(f"{', '.join(skipped)}: {STARVED}")
    assert not skipped


def _drill(home: Path, names: list[str], cgroups: str) -> dict[str, dict[str, Any]]:
    """Result of each fault."""
    line = [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(home), "drill", "--json"]
    line += [word for name in names for word in ("--fault", name)]
    environment = {**os.environ, "HOLDFAST_CGROUPS": cgroups}
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=700, env=environment)
    return {result["fault"]: result for result in json.loads(done.stdout)["results"]}


def _late(results: dict[str, dict[str, Any]]) -> list[str]:
    """Whose only fault was to be late, or who could not be judged for the load."""

    def is_late(result: dict[str, Any]) -> bool:
        return all(clause.startswith(("caught after", "restored after")) for clause in result["detail"].split("; "))

    return [
        name
        for name, one in results.items()
        if (one["verdict"] == "failed" and is_late(one)) or (one["verdict"] == "skipped" and STARVED in one["detail"])
    ]
