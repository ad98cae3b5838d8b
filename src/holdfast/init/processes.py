"""Whose the processes below init are: an agent's main process by its pid, the rest of its tree as tree.py finds it.

Invariant: what is neither a main process nor our own counts as an orphan, looked up once a turn of the loop at most.
Made by supervise.py; called by it, by adopt.py and pausing.py.
"""

from __future__ import annotations

import os
import signal

from holdfast.init import procfs, tree
from holdfast.init.agent import Agent


class Processes:
    """`look_anew` at the end of a turn, and before the end of a process is acted on: what it left is seen only then."""

    def __init__(self, home_id: str) -> None:
        self.home_id = home_id
        self.by_pid: dict[int, str] = {}  # main processes that live: agents' names
        self.spawner_pid = 0
        # Who took the orphans in while all of Holdfast was dead: what adopted agents leave behind goes there too.
        self.foreign_parents: set[int] = set()
        self._orphans: list[int] | None = None

    def instance(self, agent: Agent) -> str:
        """The id that the agent's present instance carries in its environment."""
        return f"{self.home_id}:{agent.name}:{agent.epoch}"

    def look_anew(self) -> None:
        self._orphans = None

    def orphans(self) -> list[int]:
        """Children of init, guard and foreign parents which are no agent's main process and none of our own."""
        if self._orphans is None:
            known = set(self.by_pid) | {os.getpid(), os.getppid(), self.spawner_pid}
            others = {os.getppid(), *self.foreign_parents}
            candidates = [child for parent in others for child in procfs.all_children(parent)]
            candidates += procfs.children(os.getpid())
            self._orphans = [pid for pid in candidates if pid not in known]
        return self._orphans

    def members(self, agent: Agent) -> list[int]:
        """Living processes of the agent's present instance."""
        main = (agent.pid, agent.starttime)
        return tree.members(agent.definition, self.instance(agent), main, self.orphans)

    def kill(self, agent: Agent) -> int:
        """Everything of its present instance that can be found; how many were seen. Call again until empty."""
        main = (agent.pid, agent.starttime)
        return tree.kill(agent.definition, self.instance(agent), main, self.orphans)


def signal_main(agent: Agent, number: int) -> None:
    """Never raises: it may be dead, or not ours to signal."""
    try:
        if agent.pidfd >= 0:
            signal.pidfd_send_signal(agent.pidfd, number)
        elif agent.pid:
            os.kill(agent.pid, number)
    except (ProcessLookupError, PermissionError):
        pass
