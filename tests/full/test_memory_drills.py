"""Every drill about the node's memory, on real processes and whatever cgroups this machine has, and without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.drills import memory_stage
from holdfast.drills.faults import FAULTS

pytestmark = [pytest.mark.full, pytest.mark.timeout(420)]
NAMES = [fault.name for fault in FAULTS.values() if fault.memory]


@pytest.mark.parametrize("cgroups", ["auto", "none"])
def test_no_important_agent_notices_what_happens_to_the_memory(tmp_path: Path, cgroups: str) -> None:
    if why := memory_stage.unfit():
        pytest.skip(why)
    line = [sys.executable, "-P", "-m", "holdfast.cli", "--home", str(tmp_path), "drill", "--json"]
    line += [word for name in NAMES for word in ("--fault", name)]
    environment = {**os.environ, "HOLDFAST_CGROUPS": cgroups}
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=400, env=environment)
    results = {result["fault"]: result for result in json.loads(done.stdout)["results"]}
    assert set(results) == set(NAMES)
    failed = {name: result for name, result in results.items() if result["verdict"] == "failed"}
    assert not failed
    assert all(results[name]["verdict"] == "passed" for name in ("leak", "spike", "fork-memory", "start-storm"))
