"""Whom a keeper may have paused or held at a ceiling, and how they go on when it is gone.

Invariant: an agent that was paused goes on one second after the time the keeper told us, and everything that a lost
keeper paused or held goes on FREE_AFTER_S after its line was lost, also when we die meanwhile: both times are in the
journal. A later keeper takes it over by `pause` for one agent, by `steer` for all; merely coming back is not enough,
since a keeper that dies again and again must not keep anybody standing still. Freeing is idempotent.
Called by requests.py and by the loop in main.py.
"""

from __future__ import annotations

import os
import signal
import time

from holdfast.init import procfs, tree
from holdfast.init.agent import Agent
from holdfast.init.supervise import Supervisor

FREE_AFTER_S = 4.0  # after the keeper's line was lost; a new keeper mostly speaks within one
LATE_S = 1.0  # a keeper that lives frees by itself at the time it told us
FOREVER = float("inf")


class Pausing:
    """Shell around the supervisor's agents; `lost_mono` of its memory says since when nobody steers (0: somebody)."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.due_mono = FOREVER

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
            memory.lost_mono = 0.0
            memory.records.append(memory.line_record())
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

    def free_all(self, why: str) -> None:
        """Nobody steers any more: whoever is paused goes on, and every ceiling is lifted. At the loss of a keeper but
        for those whom a later one has paused meanwhile."""
        memory = self.supervisor
        freed, lifted = [], []
        for agent in memory.agents.values():
            if agent.paused_mono and (agent.abandoned or why == "leave") and self.free(agent):
                freed.append(agent.name)
            if lift_ceiling(agent):
                lifted.append(agent.name)
        memory.lost_mono = 0.0
        memory.records.append(memory.line_record())
        self._tell(freed, lifted, why)
        self._plan()

    def on_time(self, now: float) -> None:
        if now < self.due_mono:
            return
        memory = self.supervisor
        if memory.lost_mono and now >= memory.lost_mono + FREE_AFTER_S:
            self.free_all("keeper")
        late = [a for a in memory.agents.values() if a.paused_mono and now >= a.paused_mono + LATE_S]
        self._tell([agent.name for agent in late if self.free(agent)], [], "time")
        self._plan()

    def _plan(self) -> None:
        memory = self.supervisor
        due = [agent.paused_mono + LATE_S for agent in memory.agents.values() if agent.paused_mono]
        if memory.lost_mono:
            due.append(memory.lost_mono + FREE_AFTER_S)
        self.due_mono = min(due, default=FOREVER)

    def _tell(self, freed: list[str], lifted: list[str], why: str) -> None:
        if freed or lifted:
            self.supervisor.tell("freed", names=freed, ceilings=lifted, why=why)


def go_on(supervisor: Supervisor, agent: Agent) -> bool:
    """Thaw its tree by whatever may have frozen it; True when something was."""
    definition = agent.definition
    files = [(f"{definition.cgroup_v2}/cgroup.freeze", b"1", "0")] if definition.cgroup_v2 else []
    files += [(f"{directory}/freezer.state", b"FR", "THAWED") for directory in definition.cgroup_v1]
    for path, standing, word in files:
        state = _read(path)
        if state.startswith(standing):
            _write(path, word)
            return True
    if agent.state not in ("up", "stopping", "sweeping"):
        return False
    main = (agent.pid, agent.starttime)
    members = tree.members(definition, supervisor.instance(agent), main, supervisor.orphans)
    stopped = [pid for pid in members if (process := procfs.read(pid)) is not None and process.state == "T"]
    tree.signal_all(stopped, signal.SIGCONT)
    return bool(stopped)


def lift_ceiling(agent: Agent) -> bool:
    """Its memory is held by the declared limit alone; True when a ceiling was there. Room first, then the killing."""
    definition = agent.definition
    high = f"{definition.cgroup_v2}/memory.high"
    if definition.cgroup_v2 and _read(high).strip() not in (b"", b"max"):
        if definition.memory_bytes is None:
            _write(f"{definition.cgroup_v2}/memory.max", "max")
        _write(high, "max")
        return True
    for directory in definition.v1_groups():
        if b"oom_kill_disable 1" in _read(f"{directory}/memory.oom_control"):
            declared = definition.memory_bytes
            _write(f"{directory}/memory.limit_in_bytes", str(-1 if declared is None else declared))
            _write(f"{directory}/memory.oom_control", "0")
            return True
    return False


def _read(path: str) -> bytes:
    """Empty when it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass  # gone, or it does not hold: the rest is freed all the same
