"""The whole way of a snapshot: `holdfast snapshot AGENT`, through command line, socket, keeper and worker.

Called by suites/state.py. One agent whose state is the workspace, its clock off: every snapshot is asked for.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bench import processes
from bench.context import Context, Result
from bench.fleet import Fleet
from bench.install import ROOT
from bench.peers.holdfast import Holdfast as Supervisor
from bench.state_peers import AGENT_ID, give

TICKS = os.sysconf("SC_CLK_TCK")
UP_S, COMMAND_S = 60.0, 120.0


def through_the_command_line(context: Context, workspace: Path, count: int) -> Result:
    """{what: {"wall_s", "command_cpu_s", "holdfast_cpu_s": lists}}, or {"error"}."""
    peer = Supervisor()
    peer.version()
    settings = {"state": {"paths": [str(workspace)], "every": "off"}}
    rows: dict[str, dict[str, list[float]]] = {}
    try:
        with Fleet(peer, context.place, context.workload, 1, settings=settings, timeout_s=UP_S) as fleet:
            (starts,) = fleet.starts.values()
            give(workspace, os.stat(f"/proc/{starts[0].pid}").st_uid)
            _take(peer, fleet)
            for number in range(count):
                change: list[str | Path] = [sys.executable, "-m", "bench.state_workspace", "mutate", workspace]
                change += ["--seed", str(500 + number)]
                processes.command(change, context.place / "workspace.log", timeout_s=COMMAND_S, cwd=ROOT)
                give(workspace, os.stat(f"/proc/{starts[0].pid}").st_uid)
                for what in ("1 % changed", "nothing changed"):
                    row = rows.setdefault(what, {"wall_s": [], "command_cpu_s": [], "holdfast_cpu_s": []})
                    for key, value in _take(peer, fleet).items():
                        row[key].append(round(value, 3))
    except (processes.CommandFailed, processes.TooSlow) as failed:
        return {"error": str(failed)[-300:]}
    finally:
        give(workspace, AGENT_ID)
    context.say(f"state: command line: {rows}")
    return dict(rows)


def _take(peer: Supervisor, fleet: Fleet) -> dict[str, float]:
    assert peer.directory is not None
    os.sync()
    report = peer.directory / "cost.json"
    timer: list[str | Path] = [sys.executable, "-I", "-S", Path(__file__).with_name("state_timer.py"), report]
    (agent,) = fleet.starts
    before = _used(fleet)
    argv: list[str | Path] = [*timer, peer.program, "--home", peer.home, "snapshot", agent]
    processes.command(argv, peer.directory / "output", timeout_s=COMMAND_S)
    after = _used(fleet)
    cost = json.loads(report.read_text())
    return {"wall_s": cost["wall_s"], "command_cpu_s": cost["cpu_s"], "holdfast_cpu_s": after - before}


def _used(fleet: Fleet) -> float:
    """CPU seconds of all Holdfast processes and what they have collected, to a hundredth."""
    total = 0
    for pid in fleet.supervisor_pids():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS
