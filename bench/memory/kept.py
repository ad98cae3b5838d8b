"""Holdfast itself inside the node: guard, init, logger and keeper as they are, with a fleet, asked through the API.

`python -m bench.memory.kept HOME NODE` is how they are begun: a process that enters the node and leaves the guard
behind, as `holdfast up` would. Only the keeper's program is chosen here; see altered_keeper.py for the altered one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.install import ROOT
from bench.memory.ground import Ground
from bench.memory.scenarios import IMPORTANT, SPARE_MB, Scenario
from bench.memory.waiting import wait_until
from holdfast.cli.client import KeeperClient
from holdfast.errors import HoldfastError
from holdfast.home import Home

MB = 1024 * 1024
UP_S = 240.0  # an emulated machine takes its time
_COMING = ("density.shed", "density.back", "density.spared")


class Kept:
    """`altered`: words for the altered keeper; () is the keeper as it is."""

    def __init__(self, place: Path, ground: Ground, altered: tuple[str, ...], bare: bool) -> None:
        self.home = Home(place / "home")
        self.work = place / "agents"
        self.client = KeeperClient(self.home, timeout_s=30.0)
        self._ground = ground
        self._altered = altered
        self._bare = bare
        self.seen: list[int] = []  # every keeper there was
        self.up_s = 0.0  # from the beginning to an API that answers
        self.killed_mono = self.away_s = 0.0  # its keeper: when, and until the next one answered
        self.queued: set[str] = set()  # who was seen waiting for its start

    # --- life ----------------------------------------------------------------------------------------------------
    def begin(self) -> None:
        self.work.mkdir()
        self.home.prepare()
        keeper = ["-m", "bench.memory.altered_keeper", *self._altered] if self._altered else ["-m", "holdfast.keeper"]
        services = {
            "keeper": {"argv": [sys.executable, "-P", *keeper, "--home", str(self.home.path)]},
            "logger": {"argv": [sys.executable, "-P", "-m", "holdfast.logs", "--home", str(self.home.path)]},
        }
        self.home.services.write_text(json.dumps(services))
        environment = dict(os.environ, HOLDFAST_USERS="numeric", PYTHONPATH=f"{ROOT}:{ROOT / 'src'}")
        environment.pop("HOLDFAST_CGROUPS", None)
        if self._bare:
            environment["HOLDFAST_CGROUPS"] = "none"
        words = [sys.executable, "-m", "bench.memory.kept", str(self.home.path), self._ground.node]
        begun = time.monotonic()
        subprocess.Popen(words, env=environment)
        wait_until(self.client.is_up, "an API that answers", UP_S)
        self.up_s = round(time.monotonic() - begun, 1)
        self.seen.append(self.keeper_pid())

    def fleet(self, scenario: Scenario, command: list[list[str]]) -> None:
        """`command`: of each agent, first those that matter. All healthy and their starts over when this returns."""
        agents = []
        names = [*scenario.innocents, *scenario.growing]
        for name, words in zip(names, command, strict=True):
            number = names.index(name)
            matters = number < len(scenario.innocents)
            order = number - len(scenario.innocents)
            start = SPARE_MB + scenario.innocents_mb[number] if matters else scenario.start_mb(order)
            agents.append(
                {
                    "name": name,
                    "command": words,
                    "working_dir": str(self.work),
                    "user": "root",
                    "priority": IMPORTANT if matters else min(order, IMPORTANT - 1),
                    "memory": {"start_bytes": start * MB},
                }
            )
        fleet: dict[str, Any] = {"agents": agents}
        if scenario.reserve_mb is not None:
            fleet["node"] = {"reserve_bytes": scenario.reserve_mb * MB}
        self.client.put("/v1/fleet", json.dumps(fleet).encode(), merge=0)
        wait_until(self.is_steady, "all are healthy and their starts are over", UP_S)

    def is_steady(self) -> bool:
        """Leases of starts are given back by looking: a keeper that never looks keeps them."""
        rows, blind = self.status()["agents"], self._altered[:1] == ("off",)
        self.queued |= {row["name"] for row in rows if row["phase"] == "queued"}
        return bool(rows) and all(row["phase"] == "healthy" and (blind or not row["start_lease_bytes"]) for row in rows)

    def kill_keeper(self) -> None:
        self.killed_mono = time.monotonic()
        os.kill(self.seen[-1], signal.SIGKILL)

    def followed(self) -> None:
        """Notes the keeper there is now; it answers again. Raises NotYet."""
        wait_until(self.client.is_up, "a keeper that answers", UP_S)
        self.away_s = round(time.monotonic() - self.killed_mono, 1)
        if (pid := self.keeper_pid()) != self.seen[-1]:
            self.seen.append(pid)

    # --- what it says --------------------------------------------------------------------------------------------
    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.client.get("/v1/status")
        except HoldfastError:
            return {"agents": [], "holdfast": {"processes": []}}
        return found

    def phases(self) -> list[dict[str, Any]]:
        """What is known of each agent, for a run that failed."""
        return [{key: value for key, value in row.items() if value} for row in self.status()["agents"]]

    def keeper_pid(self) -> int:
        rows = self.status()["holdfast"]["processes"]
        return next((row["pid"] for row in rows if row["name"] == "keeper" and row["pid"]), 0)

    def records(self) -> list[dict[str, Any]]:
        """Of the ledger: who was shed, spared and called back, with `mono`, the moment on the monotonic clock."""
        ahead = time.time() - time.monotonic()
        lines = self.client.stream("/v1/events", follow=False)
        found = [json.loads(line) for line in lines if line.strip()]
        return [one | {"mono": one["at"] - ahead} for one in found if one["kind"] in _COMING]

    def told(self, over_mono: float) -> list[str]:
        """The ledger in short, in seconds from the moment at which there was room for all."""
        over_at = time.time() - time.monotonic() + over_mono
        found = [json.loads(line) for line in self.client.stream("/v1/events", follow=False) if line.strip()]
        return [f"{one['at'] - over_at:+.1f} {one['kind']} {one['agent'] or ''}: {one['text']}" for one in found]

    def restarted(self, names: list[str]) -> list[str]:
        """Those of `names` that are no longer the first instance."""
        return [row["name"] for row in self.status()["agents"] if row["name"] in names and row["instance"] != 1]


def main() -> int:
    """See the module."""
    from holdfast.init.launch import start_guard

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    home, node = Home(Path(sys.argv[1])), sys.argv[2]
    with open(f"{node}/cgroup.procs", "w") as file:
        file.write("0")
    start_guard(str(home.path), str(home.run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
