"""Evidence: from the verdict that an agent hangs to its death, and what looking into it costs.

Twenty Python agents and twenty of Node answer HTTP until a file appears; then one after the other spins in a function.
The verdict is the ledger's record of it; death is seen by a pidfd. Each is one whole incident: hang, verdict, evidence,
kill, successor. CPU: of what the keeper started (collector and its tools), from the times of its reaped children.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench import processes, samples
from bench.context import Context, Goal, Result, Section
from bench.peers.holdfast import Holdfast

NAME = "evidence"
TITLE = "Evidence: from the verdict to the death of a hung agent"
ROUNDS, ROUNDS_QUICK = 20, 3
START_TIMEOUT_S, SETTLE_S = 60.0, 3.0
ROUND_TIMEOUT_S, PAUSE_S = 30.0, 0.7
GOAL_S = 1.5
TICKS = os.sysconf("SC_CLK_TCK")

PYTHON = """
import http.server, os, sys
def stuck_here():
    number = 0
    while os.path.exists(sys.argv[2]):
        number += 1
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        stuck_here()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
NODE = """
const fs = require("fs"), http = require("http");
function stuck_here() { while (fs.existsSync(process.argv[3])) {} }
http.createServer((ask, answer) => { stuck_here(); answer.end("{}"); }).listen(+process.argv[2], "127.0.0.1");
"""


class Kind(NamedTuple):
    name: str
    program: str
    script: str


def run(context: Context) -> Result:
    """{kind: {"verdict_to_death_s": [...], "hang_to_death_s": [...], "cpu_s": [...], "named": n, "gaps": [...]}}."""
    kinds = [Kind("Python", _system_python(), PYTHON)]
    node = shutil.which("node")
    if node:
        kinds.append(Kind("Node", node, NODE))
    result: Result = {}
    for kind in kinds:
        try:
            result[kind.name] = _hang_each(context, kind)
        except (processes.TooSlow, processes.CommandFailed, OSError) as error:
            context.say(f"evidence: {error}")
            result[kind.name] = {"error": str(error)[:300]}
    return result


def _system_python() -> str:
    return next(path for path in ("/usr/bin/python3", shutil.which("python3") or "python3") if os.path.exists(path))


class Stage:
    """One Holdfast with agents of which each hangs when its file `hang-NAME` exists."""

    def __init__(self, context: Context, kind: Kind, count: int) -> None:
        self.peer = Holdfast()
        self.peer.version()
        self.directory = context.place / f"evidence-{kind.name}"
        self.directory.mkdir()
        context.place.chmod(0o755)
        script = self.directory / ("agent.py" if kind.name == "Python" else "agent.js")
        script.write_text(kind.script)
        agents = {}
        for number in range(count):
            name, port = f"a{number:02d}", processes.free_port()
            agents[name] = {
                "command": [kind.program, str(script), str(port), str(self.hang(name))],
                "health": {"http": f"http://127.0.0.1:{port}/", "interval": "500ms", "timeout": "300ms"},
            }
        self.names = list(agents)
        self.peer.directory, self.peer.home = self.directory, self.directory / "home"
        self.peer.file = self.directory / "holdfast.yaml"
        self.peer.file.write_text(json.dumps({"version": 1, "agents": agents}))

    def hang(self, name: str) -> Path:
        return self.directory / f"hang-{name}"

    def wait_healthy(self) -> None:
        def healthy() -> bool:
            status = self.peer.get("/v1/status")
            return isinstance(status, dict) and all(row["phase"] == "healthy" for row in status["agents"])

        processes.wait_until(healthy, "all agents healthy", START_TIMEOUT_S, 0.1)

    def pid(self, name: str) -> int:
        row = self.peer.get(f"/v1/agents/{name}")
        if not isinstance(row, dict) or not row.get("pid"):
            raise processes.TooSlow(f"{name} does not run")
        return int(row["pid"])

    def events(self, name: str, since_at: float) -> list[dict[str, Any]]:
        text = self.peer.call("events", "--json", "--agent", name, timeout_s=20)
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [event for event in found if event["at"] >= since_at]


def _hang_each(context: Context, kind: Kind) -> Result:
    stage = Stage(context, kind, ROUNDS_QUICK if context.quick else ROUNDS)
    found: Result = {"verdict_to_death_s": [], "hang_to_death_s": [], "cpu_s": [], "said": []}
    try:
        stage.peer.relaunch()
        stage.wait_healthy()
        time.sleep(SETTLE_S)
        for name in stage.names:
            _one_hang(stage, name, found)
        said = found["said"]
        found["named"] = sum("stuck_here" in text for text in said)
        context.say(f"evidence: {kind.name}: {found['verdict_to_death_s']} s; {said[-1]}")
    finally:
        stage.peer.end()
        stage.peer.tidy()
    return found


def _one_hang(stage: Stage, name: str, into: Result) -> None:
    keeper = stage.peer.process_table()["keeper"]
    pidfd = os.pidfd_open(stage.pid(name))
    before_s = _children_cpu_s(keeper)
    try:
        begun = time.time()
        stage.hang(name).touch()
        if not select.select([pidfd], [], [], ROUND_TIMEOUT_S)[0]:
            raise processes.TooSlow(f"{name} was not killed within {ROUND_TIMEOUT_S:.0f} s")
        died_at = time.time()
    finally:
        os.close(pidfd)
        stage.hang(name).unlink(missing_ok=True)
    time.sleep(PAUSE_S)  # until the collector is reaped, and the ledger written
    events = stage.events(name, begun)
    into["verdict_to_death_s"].append(round(died_at - _verdict_at(events), 4))
    into["hang_to_death_s"].append(round(died_at - begun, 4))
    into["cpu_s"].append(round(_children_cpu_s(keeper) - before_s, 3))
    into["said"].append(next((event["text"] for event in events if event["kind"] == "agent.evidence"), "nothing"))


def _verdict_at(events: list[dict[str, Any]]) -> float:
    """When the ladder decided on the restart. Raises TooSlow when no such record came."""
    for event in events:
        if event["kind"].startswith("ladder.") and "-> recovering" in event["text"]:
            return float(event["at"])
    raise processes.TooSlow(f"no verdict among {[event['kind'] for event in events]}")


def _children_cpu_s(pid: int) -> float:
    """CPU of all children it has reaped, and of theirs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS


def report(result: Result) -> Section:
    """One table and a goal for each kind of agent."""
    rows = []
    goals = []
    for kind in ("Python", "Node"):
        text = f"hung {kind} agent: from verdict to death with evidence ≤ {GOAL_S} s"
        row = result.get(kind)
        if not row or not row.get("verdict_to_death_s"):
            goals.append(Goal(f"evidence-{kind.lower()}", text, (row or {}).get("error", "not measured"), None))
            continue
        values = row["verdict_to_death_s"]
        middle, p99 = samples.median(values), samples.percentile(values, 99)
        hang, cpu = samples.median(row["hang_to_death_s"]), samples.median(row["cpu_s"])
        figures = [samples.number(figure) for figure in (middle, p99, max(values), hang, cpu)]
        rows.append([kind, *figures, f"{row['named']} of {len(values)}", str(len(values))])
        figure = f"{middle:.2f} s (p99 {p99:.2f} s, n={len(values)})"
        goals.append(Goal(f"evidence-{kind.lower()}", text, figure, p99 <= GOAL_S))
    head = ["agent", "verdict to death, median s", "p99", "max", "hang to death s", "CPU s of looking"]
    lines = samples.table([*head, "function named", "n"], rows)
    lines += [
        "",
        "CPU of looking: the collector and its tools. Probes every 0.5 s, three must fail before a verdict.",
    ]
    return Section(lines, goals)
