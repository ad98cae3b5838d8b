"""The memory groups of the keeper's agents: attached when an agent has a place, listened to, frozen and let go.

Invariants: init is told before anybody is frozen, so that nobody stays so when we die; what another instance of ours
left behind is found, not assumed; nothing here raises. Called by the semaphore's loop and acts, and by whoever freezes
an agent for another reason (hibernation).
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from holdfast.evidence import stacks
from holdfast.keeper.acting.link import InitLink
from holdfast.keeper.acting.places import NodePlaces
from holdfast.keeper.agent import LIVING, Agent
from holdfast.keeper.density.trees import Trees
from holdfast.node import processes
from holdfast.pods.memory_attach import attach
from holdfast.pods.memory_group import Memory, MemoryGroup
from holdfast.pods.memory_v1 import MemoryV1

ATTACH_AGAIN_S = 1.0  # an agent without a memory cgroup is looked at again: its group may have come late
JOINS_IN_S = 5.0  # a newborn is brought into its groups some 15 ms after its birth; on a machine that is busy, later
WALK_FRESH_S = 0.01  # all groups of one look share one walk over the process table
_MEMORY_FILES = ("memory.high", "memory.limit_in_bytes")


class _Held:
    """`key`: what it was attached for. Another one is attached anew. `joins`: its group will hold it in a moment."""

    __slots__ = ("again_mono", "fd", "group", "joins", "key")

    def __init__(self, key: tuple[object, ...], group: MemoryGroup, again_mono: float, joins: bool) -> None:
        self.key = key
        self.group = group
        self.again_mono = again_mono  # without a memory cgroup: when to look for one again
        self.joins = joins
        self.fd = -1  # which is listened to


class AgentGroups:
    """See the module. `heard()` is called when the kernel tells something."""

    def __init__(
        self, agents: dict[str, Agent], places: NodePlaces, link: InitLink, home_id: str, heard: Callable[[], None]
    ) -> None:
        self._agents = agents
        self._places = places
        self._link = link
        self._heard = heard
        self._trees = Trees(home_id)
        self._walking = threading.Lock()
        self._walked_mono = float("-inf")
        self._held: dict[str, _Held] = {}
        self._by_fd: dict[int, str] = {}
        self._epoll: select.epoll | None = None

    # --- attaching -----------------------------------------------------------------------------------------------
    def of(self, agent: Agent) -> MemoryGroup | None:
        """None while it has no place, or runs in none that can be weighed."""
        held = self._held.get(agent.name)
        key = self._key(agent)
        now = time.monotonic()
        same = held is not None and held.key == key
        if held is not None and same and (held.group.ceilings or now < held.again_mono):
            return held.group
        place = self._has_place(agent)
        if not same and not place and agent.world.state not in LIVING:
            return held.group if held is not None else None
        v2, v1 = self._directories(agent)
        inside = not agent.world.pid or _is_inside(agent.world.pid, v2, v1)
        joins = not inside and now < agent.world.spawned_mono + JOINS_IN_S
        again_mono = now if joins else now + ATTACH_AGAIN_S
        if held is not None and same and not (place and inside):
            held.again_mono, held.joins = again_mono, joins
            return held.group
        if held is not None:
            self.drop(agent.name)
        members = partial(self.members, agent.name)
        group = attach(v2, v1, agent.spec.limits.memory_bytes, members, inside=inside)
        self._held[agent.name] = _Held(key, group, again_mono, joins)
        return group

    def _key(self, agent: Agent) -> tuple[object, ...]:
        return (agent.memory.pod, agent.world.epoch, agent.spec.limits.memory_bytes)

    def _has_place(self, agent: Agent) -> bool:
        v2, v1 = self._directories(agent)
        return any(os.path.exists(f"{each}/{name}") for each in (v2, *v1) if each for name in _MEMORY_FILES)

    def _directories(self, agent: Agent) -> tuple[str | None, list[str]]:
        """Not paths: a start looks at them again and again, and a path costs more to make than to look at."""
        plan, name = self._places.plan, f"{agent.name}.{agent.memory.pod}"
        v2 = f"{plan.v2_root}/{name}" if plan.v2_root is not None else None
        return v2, [f"{root}/{name}" for root in plan.v1_roots.values()]

    def members(self, name: str) -> list[int]:
        """Processes of an agent: those of its cgroup, else those of its tree. Also called by threads."""
        agent = self._agents.get(name)
        if agent is None:
            return []
        plan = self._places.plan
        v2, v1 = self._directories(agent)
        tracked = v2 if v2 is not None else next((each for each in v1 if plan.tracker), None)
        if tracked is not None and os.path.isdir(tracked):
            return _procs(tracked)
        with self._walking:
            now = time.monotonic()
            if now - self._walked_mono >= WALK_FRESH_S:
                self._walked_mono = now
                worlds = [(one.name, one.world) for one in list(self._agents.values())]
                self._trees.walk({name: (world.pid, world.starttime) for name, world in worlds if world.pid}, now)
            return self._trees.of(name)

    def holds(self, agent: Agent) -> bool:
        """Whether the kernel holds what it may use; for one that is not in its group yet: whether it will."""
        held = self._held.get(agent.name)
        if held is None:
            return "memory" in self._places.plan.controllers
        return held.group.ceilings or held.joins

    def why_unheld(self, agent: Agent, now: float) -> str | None:
        """Why no memory cgroup of its own holds what runs of it, one clause; "" one does; None: not to be told yet.

        Reads /proc. Where agents get none at all, "".
        """
        if "memory" not in self._places.plan.controllers:
            return ""
        if now < agent.world.spawned_mono + JOINS_IN_S:
            return None
        if not self._has_place(agent):
            return "its memory cgroup is gone"
        return "" if _is_inside(agent.world.pid, *self._directories(agent)) else "it is outside of its memory cgroup"

    def fails_at_ceiling(self, agent: Agent) -> bool:
        """Whether it cannot always wait at its ceiling: in v1, forks, pipes and writes fail there."""
        held = self._held.get(agent.name)
        return held is not None and isinstance(held.group, MemoryV1)

    def read(self, agent: Agent, slack_bytes: int) -> Memory | None:
        """What it holds now; None while nothing can be told."""
        group = self.of(agent)
        if group is None:
            return None
        found = group.read(slack_bytes)
        if not found.there and group.ceilings:
            self.drop(agent.name)  # the next look finds what took its place
        return found

    # --- listening -----------------------------------------------------------------------------------------------
    def listen(self) -> None:
        """Hear what the kernel tells of all groups. Descriptors appear with the first ceiling; cheap when none did."""
        for name, held in self._held.items():
            fd = held.group.notify_fd
            if fd is None or fd == held.fd:
                continue
            if self._epoll is None:
                self._epoll = select.epoll()
                asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._on_heard)
            # Edge-triggered: an event of cgroup v2 stays ready until its file is read, which the next look does.
            try:
                self._epoll.register(fd, held.group.notify_mask | select.EPOLLET)
            except OSError:
                continue
            self._by_fd[fd] = name
            held.fd = fd

    def _on_heard(self) -> None:
        if self._epoll is None:
            return
        for fd, _ in self._epoll.poll(0):
            held = self._held.get(self._by_fd.get(fd, ""))
            if held is not None and held.fd == fd:
                held.group.heard()
        self._heard()

    # --- acts ----------------------------------------------------------------------------------------------------
    def freeze(self, agent: Agent, until_mono: float | None) -> bool:
        """init is told first, which frees it when we cannot; None: until thawed. False: it goes on."""
        group = self.of(agent)
        if group is None or not self._link.send("pause", agent=agent.name, until_mono=until_mono):
            return False
        self._link.flush()
        return group.freeze()

    def thaw(self, agent: Agent) -> bool:
        group = self.of(agent)
        done = group is None or group.thaw()
        for pid in self.members(agent.name):  # no freezer tells of them: a debugger that was killed leaves such behind
            if (found := processes.stat(pid)) is not None and found.state == "T":
                stacks.go_on(pid)
        self._link.send("resume", agent=agent.name)
        return done

    def release(self, agent: Agent) -> None:
        """Its tree is gone: no ceiling, no protection, nothing frozen stays behind."""
        held = self._held.get(agent.name)
        if held is not None:
            held.group.release()

    def release_ceilings(self) -> None:
        """Nobody can be held any more, so that we hold them ourselves."""
        for held in self._held.values():
            if held.group.ceilings:
                held.group.set_ceiling(None)

    def drop(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is not None:
            self._by_fd.pop(held.fd, None)
            held.group.close()

    def close(self) -> None:
        for name in list(self._held):
            self.drop(name)
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None


def _is_inside(pid: int, v2: str | None, v1: Sequence[str]) -> bool:
    """Whether the process is in that of these groups that counts memory; True when none of them does."""
    by_v2 = v2 is not None and os.path.exists(f"{v2}/{_MEMORY_FILES[0]}")
    group = v2 if by_v2 else next((each for each in v1 if os.path.exists(f"{each}/{_MEMORY_FILES[1]}")), None)
    if group is None:
        return True
    try:
        told = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return True  # it is gone
    part = "/" + "/".join(group.rsplit("/", 2)[1:]) + "/"  # ours, and the agent's
    if any(part in f"{line}/" for line in told.splitlines() if _counts(line.split(":", 2)[1], by_v2)):
        return True
    return _holds_nothing(pid)


def _holds_nothing(pid: int) -> bool:
    """Whether it gave back its memory: the kernel takes a process that ends out of its v1 groups after that."""
    try:
        return Path(f"/proc/{pid}/statm").read_bytes().startswith(b"0 ")
    except OSError:
        return True


def _counts(controllers: str, by_v2: bool) -> bool:
    return not controllers if by_v2 else "memory" in controllers.split(",")


def _procs(directory: str) -> list[int]:
    """Pids in a cgroup and in those below it."""
    found: list[int] = []
    try:
        alone = os.stat(directory).st_nlink == 2  # a walk costs ten times as much as the reading of one file
    except OSError:
        return []
    for path in (directory,) if alone else (path for path, _, _ in os.walk(directory)):
        try:
            with open(f"{path}/cgroup.procs", "rb") as file:
                found += map(int, file.read().split())
        except (OSError, ValueError):
            continue
    return found
