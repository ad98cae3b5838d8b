"""How main processes ended that init cannot reap, because somebody else is their parent: told by guard or the kernel.

Invariant: an end is told once, with its code when that is known within STATUS_PATIENCE_S, without it afterwards; one
agent's unknown code holds up nobody else. Made by supervise.py; called by it, by adopt.py and by the loop in main.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from holdfast.init import kernel
from holdfast.init.agent import Agent

STATUS_PATIENCE_S = 0.25  # an orphan's exit code arrives this soon from guard or kernel, or stays unknown
STATUS_ASK_S = 0.005
TOLD_MAX = 8192  # exits that guard told of and nobody asked for yet

Status = dict[str, int]


def status_from_wait(wait_status: int | None) -> Status:
    """{"code": N} | {"signal": N} | {} when unknown."""
    if wait_status is None:
        return {}
    if os.WIFSIGNALED(wait_status):
        return {"signal": os.WTERMSIG(wait_status)}
    return {"code": os.WEXITSTATUS(wait_status)}


class ExitCodes:
    """`exited` takes an end whose code is known or will stay unknown; `look_at` asks for `look` at a time."""

    def __init__(
        self,
        agents: dict[str, Agent],
        forget_pidfd: Callable[[int], None],
        exited: Callable[[Agent, Status], None],
        look_at: Callable[[str, float], None],
    ) -> None:
        self._agents = agents
        self._forget_pidfd, self._exited, self._look_at = forget_pidfd, exited, look_at
        self._told: dict[tuple[int, int], int] = {}  # (pid, starttime) -> wait status, told by guard
        self.awaited: dict[str, float] = {}  # agents that died, until their code must be known

    def orphan_exited(self, name: str) -> None:
        """The pidfd of an adopted agent became readable."""
        agent = self._agents[name]
        status = self._told.pop((agent.pid, agent.starttime), None)
        if status is None:
            status = kernel.exit_status_of_reaped(agent.pidfd)
        if status is not None:
            self._exited(agent, status_from_wait(status))
        elif name not in self.awaited:
            self.awaited[name] = time.monotonic() + STATUS_PATIENCE_S
            self._look_at(name, time.monotonic() + STATUS_ASK_S)
            kept = os.dup(agent.pidfd)  # asked again until the code is known, and no longer waited for
            self._forget_pidfd(agent.pidfd)
            agent.pidfd = kept

    def died_unseen(self, agent: Agent) -> None:
        """It was dead when we came: guard knows the exit code soon, or nobody does."""
        self.awaited[agent.name] = time.monotonic() + STATUS_PATIENCE_S
        self._look_at(agent.name, self.awaited[agent.name])

    def look(self, agent: Agent, now: float) -> None:
        """The parent that an orphan was given reaps it soon; only then the kernel tells its code."""
        status = kernel.exit_status_of_reaped(agent.pidfd) if agent.pidfd >= 0 else None
        if status is not None or self.awaited[agent.name] <= now:
            self._exited(agent, status_from_wait(status))
        else:
            self._look_at(agent.name, min(now + STATUS_ASK_S, self.awaited[agent.name]))

    def guard_told(self, pid: int, starttime: int, wait_status: int) -> None:
        """Guard reaped a process: perhaps one that we wait for, or one whose end we have yet to see."""
        if len(self._told) > TOLD_MAX:
            self._told.clear()
        self._told[(pid, starttime)] = wait_status
        for name in list(self.awaited):
            agent = self._agents[name]
            if (agent.pid, agent.starttime) == (pid, starttime):
                self._exited(agent, status_from_wait(wait_status))

    def told_before(self, agent: Agent) -> None:
        """What guard said of it before we knew it."""
        told = self._told.pop((agent.pid, agent.starttime), None)
        if told is not None:
            self.guard_told(agent.pid, agent.starttime, told)
