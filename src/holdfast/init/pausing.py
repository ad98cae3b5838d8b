"""Whom a keeper may have paused or held at a ceiling, and how they go on when it is gone.

Invariant: an agent that was paused goes on one second after the time the keeper told us, and everything that a lost
keeper paused or held goes on FREE_AFTER_S after its line was lost, also when we die meanwhile: both times are in the
journal. Ceilings are raised then, and are gone LIFT_AFTER_S later; see ceilings.py. A later keeper takes it over by
`pause` for one agent, by `steer` for all; merely coming back is not enough, since a keeper that dies again and again
must not keep anybody standing still. Freeing is idempotent.
Called by requests.py and by the loop in main.py.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from holdfast.init import ceilings, procfs, tree
from holdfast.init.agent import Agent
from holdfast.init.supervise import Supervisor

FREE_AFTER_S = 4.0  # after the keeper's line was lost; a new keeper mostly speaks within one
LIFT_AFTER_S = 60.0  # then no keeper comes soon, and what was left when ceilings were raised says nothing any more
LATE_S = 1.0  # a keeper that lives frees by itself at the time it told us
FOREVER = float("inf")


class Pausing:
    """Shell around the supervisor's agents; `lost_mono` of its memory says since when nobody steers (0: somebody)."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.due_mono = FOREVER
        self._lift_mono = FOREVER  # not in the journal: a later init begins with a lost line, and comes to it as well

    def begin(self) -> None:
        """A new init: what is paused is nobody's until a keeper takes it over."""
        self.line_lost()

    def line_lost(self) -> None:
        """The first loss counts until somebody steers again."""
        memory = self.supervisor
        if not memory.lost_mono:
            memory.lost_mono = time.monotonic()
            memory.records.append(memory.line_record())
        for agent in memory.agents.values():
            agent.abandoned = agent.paused_mono > 0.0
        self._plan()

    def steer(self) -> None:
        """The keeper that speaks answers for all ceilings and pauses from now on."""
        memory = self.supervisor
        for agent in memory.agents.values():
            agent.abandoned = False
        if memory.lost_mono:
            self._line_closed()
            for agent in memory.agents.values():
                ceilings.lift_unheld(agent.definition)
        self._lift_mono = FOREVER
        self._plan()

    def pause(self, agent: Agent, until_mono: float | None) -> None:
        """It is about to be paused; None: for as long as the keeper lives."""
        agent.paused_mono = FOREVER if until_mono is None else max(until_mono, 1e-9)
        agent.abandoned = False
        self.supervisor.changed[agent.name] = None
        self._plan()

    def resume(self, agent: Agent) -> None:
        """It was let go by whoever paused it."""
        if agent.paused_mono:
            agent.paused_mono, agent.abandoned = 0.0, False
            self.supervisor.changed[agent.name] = None
            self._plan()

    def free(self, agent: Agent) -> bool:
        """Let it go on if it is paused. True when it really stood still, as far as that can be told."""
        if not agent.paused_mono:
            return False
        self.resume(agent)
        return go_on(self.supervisor, agent)

    def before_birth(self, agent: Agent) -> None:
        """Nobody is born into a frozen cgroup; the freezing of its forerunner may still be under way to the kernel."""
        if agent.paused_mono:
            go_on(self.supervisor, agent)
            agent.paused_mono = min(agent.paused_mono, time.monotonic())
            self._plan()

    def free_all(self) -> None:
        """Holdfast ends, the agents go on: whoever is paused goes on, and every ceiling is lifted."""
        memory = self.supervisor
        freed = [agent.name for agent in memory.agents.values() if self.free(agent)]
        self._tell(freed, "leave", lifted=self._lift_all())
        self._line_closed()
        self._plan()

    def _lift_all(self) -> list[str]:
        self._lift_mono = FOREVER
        return [agent.name for agent in self.supervisor.agents.values() if ceilings.lift(agent)]

    def _line_closed(self) -> None:
        self.supervisor.lost_mono = 0.0
        self.supervisor.records.append(self.supervisor.line_record())

    def on_time(self, now: float) -> None:
        if now < self.due_mono:
            return
        memory = self.supervisor
        if memory.lost_mono and now >= memory.lost_mono + FREE_AFTER_S:
            raised = ceilings.raise_all(memory.agents.values())
            freed = [agent.name for agent in memory.agents.values() if agent.abandoned and self.free(agent)]
            self._tell(freed, "keeper", raised=raised)
            self._line_closed()
            self._lift_mono = min(self._lift_mono, now + LIFT_AFTER_S)
        if now >= self._lift_mono:
            self._tell([], "keeper", lifted=self._lift_all())
        late = [a for a in memory.agents.values() if a.paused_mono and now >= a.paused_mono + LATE_S]
        self._tell([agent.name for agent in late if self.free(agent)], "time")
        self._plan()

    def _plan(self) -> None:
        memory = self.supervisor
        due = [agent.paused_mono + LATE_S for agent in memory.agents.values() if agent.paused_mono]
        if memory.lost_mono:
            due.append(memory.lost_mono + FREE_AFTER_S)
        self.due_mono = min([self._lift_mono, *due])

    def _tell(self, freed: list[str], why: str, raised: Sequence[str] = (), lifted: Sequence[str] = ()) -> None:
        if freed or raised or lifted:
            self.supervisor.tell("freed", names=freed, raised=list(raised), ceilings=list(lifted), why=why)


def go_on(supervisor: Supervisor, agent: Agent) -> bool:
    """Thaw its tree by whatever may have frozen it; True when something was."""
    definition = agent.definition
    files = [(f"{definition.cgroup_v2}/cgroup.freeze", b"1", "0")] if definition.cgroup_v2 else []
    files += [(f"{directory}/freezer.state", b"FR", "THAWED") for directory in definition.cgroup_v1]
    for path, standing, word in files:
        state = ceilings.read(path)
        if state.startswith(standing):
            ceilings.write(path, word)
            return True
    if agent.state not in ("up", "stopping", "sweeping"):
        return False
    members = supervisor.processes.members(agent)
    stopped = [pid for pid in members if (process := procfs.read(pid)) is not None and process.state == "T"]
    tree.signal_all(stopped, signal.SIGCONT)
    return bool(stopped)
