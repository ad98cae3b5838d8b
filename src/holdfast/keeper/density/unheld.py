"""Agents that lost their memory cgroup: somebody moved them out or removed it, or they began before they got one.

Nothing is done about it, since a running tree cannot be brought back whole: it is counted by readings, ended by them
when it must be, and held again from its next start. Invariants: what the kernel holds, and what not, is said once
each, also over a keeper's death; where agents have no memory cgroups at all doctor says so, and nothing is said here.
Called by the semaphore after each look.
"""

from __future__ import annotations

from holdfast import limits
from holdfast.keeper.agent import Agent
from holdfast.keeper.density.groups import AgentGroups
from holdfast.keeper.recorder import Recorder


class Unheld:
    """`look` as often as there is occasion: it reads a file for each agent, every limits.UNHELD_LOOK_S at most."""

    def __init__(self, agents: dict[str, Agent], groups: AgentGroups, recorder: Recorder) -> None:
        self._agents = agents
        self._groups = groups
        self._recorder = recorder
        self._looked_mono = float("-inf")

    def look(self, now: float) -> None:
        if now - self._looked_mono < limits.UNHELD_LOOK_S:
            return
        self._looked_mono = now
        for agent in self._agents.values():
            if agent.world.state == "up" and agent.world.pid:
                why = self._groups.why_unheld(agent, now)
                if why is not None and why != agent.memory.unheld:
                    self._tell(agent, why)

    def _tell(self, agent: Agent, why: str) -> None:
        agent.memory.unheld = why
        if why:
            text = f"the kernel does not hold its memory: {why}; it is read process by process until its next start"
            self._recorder.record("density.unheld", agent.name, text, {"unheld": why})
        else:
            self._recorder.record("density.held", agent.name, "the kernel holds its memory again", {"unheld": ""})
