"""`up` on a running fleet: the plan first, and then only what changed is touched."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.cli_home import CliHome, home, wait_until

__all__ = ["home"]

LIVE = """\
agents:
  same: {command: [sleep, "1000"]}
  live: {command: [sleep, "1000"]}
  new: {command: [sleep, "1000"]}
"""


def test_a_plan_is_shown_and_only_what_needs_it_gets_a_new_process(home: CliHome) -> None:
    home.write("include: more.yaml\n" + LIVE)
    home.write("agents:\n  gone: {command: [sleep, '1000']}\n", "more.yaml")
    dry = home.run("up", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "+ gone: new" in dry.stdout
    assert not Path(home.path).exists()

    done = home.run("up", "-d", "--wait")
    assert done.returncode == 0, done.stderr
    before = {name: row["pid"] for name, row in home.agents().items()}
    assert set(before) == {"same", "live", "new", "gone"}

    home.write("agents: {}\n", "more.yaml")
    changed = LIVE.replace("live: {", "live: {labels: {a: b}, health: {busy_max: 1h}, ")
    home.write("include: more.yaml\n" + changed.replace("new: {", "new: {health: {beat: 60s}, "))
    lines = [
        "~ live: no restart: labels.a b (new); health.busy_max 30m -> 1h",
        "~ new: restarts: health.beat off -> 1m",
        "- gone: is stopped, its state stays",
        "  1 unchanged",
    ]
    dry = home.run("up", "--dry-run")
    assert dry.stdout.splitlines() == [*lines, "nothing was changed"]
    assert {name: row["pid"] for name, row in home.agents().items()} == before

    done = home.run("up", "-d")
    assert done.stdout.splitlines()[:4] == lines

    def settled() -> bool:
        pids = {name: row["pid"] for name, row in home.agents().items()}
        return set(pids) == {"same", "live", "new"} and pids["new"] not in (None, before["new"])

    wait_until(settled, "the new fleet")
    after = {name: row["pid"] for name, row in home.agents().items()}
    assert (after["same"], after["live"]) == (before["same"], before["live"])
    again = json.loads(home.run("up", "-d", "--json").stdout.splitlines()[0])
    assert (again["unchanged"], again["details"]) == (["same", "live", "new"], [])
    assert [Path(one).name for one in again["files"]] == ["holdfast.yaml", "more.yaml"]
