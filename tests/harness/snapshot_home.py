"""A home whose keeper has states kept quickly, agents that count in a file, and what its snapshots say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.harness.keeper_home import KeeperHome

Row = dict[str, Any]
# Counts in a file, as fast as told; says on SIGTERM that it was told to stop.
COUNTER = """
import os, signal, sys, time
where, pause = sys.argv[1], float(sys.argv[2])
def leave(*_):
    open(where + "/last-words", "w").write("bye")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
n = 0
while True:
    n += 1
    with open(where + "/count.new", "w") as file:
        file.write(str(n))
    os.replace(where + "/count.new", where + "/count")
    time.sleep(pause)
"""
QUICK = """
import runpy
from holdfast import limits
limits.SNAPSHOT_AFTER_END_S = 0.1
limits.SNAPSHOT_RETRY_FIRST_S = 0.5
limits.SNAPSHOT_PAUSE_SAID_S = 0.0
limits.SNAPSHOT_BEFORE_STOP_S = 90.0
{more}
runpy.run_module("holdfast.keeper", run_name="__main__")
"""
NO_PAUSES = "from holdfast.state.keeping import schedule\nschedule.pause = lambda *_, **__: ''"


IN_WORKER = """
from holdfast.keeper.state.worker_link import WorkerLink
WorkerLink.module = ("-c", {code!r} + "\\nfrom holdfast.worker.__main__ import main\\nmain()")
"""


def home_with(more: str = NO_PAUSES, in_worker: str = "", **options: Any) -> KeeperHome:
    """A keeper that tries again soon. No pauses: the machine of a test may be under any pressure.

    `more`, `in_worker`: lines of Python that the keeper and its worker run first.
    """
    home = KeeperHome(**options)
    services = json.loads(home.home.services.read_text())
    argv = services["keeper"]["argv"]
    if in_worker:
        more += IN_WORKER.format(code=in_worker)
    code = QUICK.replace("{more}", more)
    services["keeper"]["argv"] = [argv[0], "-P", "-c", code, *argv[4:]]
    home.home.services.write_text(json.dumps(services))
    return home


def counter(home: KeeperHome, name: str, pause_s: float = 0.05, **state: Any) -> Row:
    where = home.directory / f"state-{name}"
    where.mkdir(exist_ok=True)
    spec: Row = home.spec(name, sys.executable, "-c", COUNTER, str(where), str(pause_s))
    spec["state"] = {"paths": [str(where)], **state}
    return spec


def snapshots(home: KeeperHome, name: str) -> list[Row]:
    found: list[Row] = home.client.get(f"/v1/agents/{name}/snapshots")["snapshots"]
    return found


def take(home: KeeperHome, name: str, label: str = "") -> Row:
    """The last line of the answer."""
    return list(home.client.messages("POST", f"/v1/agents/{name}/snapshots", {"label": label}))[-1]


def said(home: KeeperHome, kind: str, agent: str = "") -> list[Row]:
    return [event for event in home.events() if event["kind"] == kind and agent in ("", event["agent"])]


def worker_pids(home: KeeperHome) -> list[int]:
    """The worker and its jobs: what descends from the keeper and is named so."""
    keeper = home.process("keeper")["pid"]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                argv = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            if b"holdfast.worker" in argv and parent == keeper:
                found.append(int(entry.name))
    return found
