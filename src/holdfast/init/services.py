"""Holdfast's own processes below init: keeper and logger, started and restarted like agents named `@...`.

How to start them stands in HOME/services.json, written by `holdfast up`. They are never given up. When no keeper
has said hello for a minute, the user's `last_resort` command is run once.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from holdfast.init import launch, procfs
from holdfast.init.protocol import AgentDef
from holdfast.init.supervise import Supervisor

NAMES = ("keeper", "logger")
LAST_RESORT_AFTER_S = 60.0
KEEPER_SILENT_BEATS = 10  # beats of ours without a word from a connected keeper: it hangs
STOP_GRACE_S = 5.0


class Services:
    """Shell around the supervisor for the `@` agents."""

    def __init__(self, home: str, supervisor: Supervisor) -> None:
        self.home, self.supervisor = home, supervisor
        self.keeper_seen_mono = time.monotonic()  # when a keeper last spoke, or we began
        self.keeper_connected = False
        self.silent_beats = 0
        self.last_resort_done = False
        self.settings: dict[str, Any] = {}

    def begin(self) -> None:
        """Read services.json and start what does not run."""
        try:
            with open(f"{self.home}/services.json") as file:
                self.settings = json.load(file)
        except (OSError, ValueError) as error:
            print(f"holdfast-init: services.json: {error}; no keeper and no logger", flush=True)
            return
        for name in NAMES:
            argv = self.settings.get(name, {}).get("argv")
            if argv:
                self.supervisor.define(f"@{name}", self._definition(name, argv), _permit())
                agent = self.supervisor.agents[f"@{name}"]
                if agent.state == "down":  # by a person's word or with the machine, never by a fault
                    self.supervisor.service_restarts.pop(name, None)
                self.supervisor.start(agent)

    def _definition(self, name: str, argv: list[str]) -> AgentDef:
        env = {**launch.environment(), "HOLDFAST_HOME": self.home, "PYTHONUNBUFFERED": "1"}
        if "pythonpath" in self.settings:  # of the code that was chosen last, not of the one we were started by
            env.pop("PYTHONPATH", None)
            if self.settings["pythonpath"]:
                env["PYTHONPATH"] = str(self.settings["pythonpath"])
        return AgentDef(
            argv=argv,
            env=env,
            cwd="/",
            fifo=f"{self.home}/log/{name}.log",
            lock=f"{self.home}/locks/@{name}",
            grace_s=STOP_GRACE_S,
            notify=False,
            oom_score_adj=-900 if os.getuid() == 0 else None,
        )

    def keeper_spoke(self) -> None:
        self.keeper_seen_mono = time.monotonic()
        self.silent_beats = 0
        self.last_resort_done = False

    def next_due(self) -> float:
        if self.last_resort_done or self.keeper_connected:
            return float("inf")
        return self.keeper_seen_mono + LAST_RESORT_AFTER_S

    def on_time(self, now: float) -> None:
        if now < self.next_due():
            return
        self.last_resort_done = True
        keeper = self.supervisor.agents.get("@keeper")
        if keeper is not None and keeper.pid:
            self._kill(keeper.pid)  # it lives but never says hello
        command = self.settings.get("last_resort")
        if command:
            name = "@last_resort"
            self.supervisor.define(name, self._definition("last_resort", command), _permit())
            self.supervisor.agents[name].definition.once = True
            self.supervisor.start(self.supervisor.agents[name])

    def look_after(self) -> None:
        """Each beat: continue those of ours that somebody stopped; replace a keeper that hangs."""
        for name in NAMES:
            agent = self.supervisor.agents.get(f"@{name}")
            if agent is None or not agent.pid:
                continue
            process = procfs.read(agent.pid)
            if process is not None and process.starttime == agent.starttime and process.state == "T":
                try:
                    os.kill(agent.pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass
        keeper = self.supervisor.agents.get("@keeper")
        if self.keeper_connected and keeper is not None and keeper.pid:
            self.silent_beats += 1
            if self.silent_beats > KEEPER_SILENT_BEATS:
                self.silent_beats = 0
                self._kill(keeper.pid)

    @staticmethod
    def _kill(pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def stop(self) -> bool:
        """Ask all of them to end; True when all have."""
        ended = True
        for name, agent in self.supervisor.agents.items():
            if not name.startswith("@"):
                continue
            if agent.state in ("up", "spawning", "waiting", "sweeping") and agent.after != "down":
                self.supervisor.stop(agent, signal.SIGTERM, STOP_GRACE_S, "shutdown")
            ended = ended and agent.state in ("down", "finished", "asking")
        return ended


def _permit() -> Any:
    from holdfast.init.protocol import Permit

    return Permit()
