"""The memory groups of the keeper's agents: attached when an agent has a place, listened to, frozen and let go.

Called by the semaphore's loop, its acts, and by whoever freezes an agent for another reason (hibernation).
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.keeper.agent import Agent
from holdfast.keeper.link import InitLink
from holdfast.keeper.places import NodePlaces
from holdfast.pods.memory_group import MemoryGroup


class AgentGroups:
    """See the module. `heard()` is called when the kernel tells something."""

    def __init__(self, places: NodePlaces, link: InitLink, heard: Callable[[], None]) -> None:
        self._places = places
        self._link = link
        self._heard = heard
        self._groups: dict[str, MemoryGroup] = {}

    def of(self, agent: Agent) -> MemoryGroup | None:
        """None while it has no place."""
        return self._groups.get(agent.name)

    def freeze(self, agent: Agent, until_mono: float | None) -> bool:
        """init is told first, which frees it when we cannot; None: until thawed."""
        group = self.of(agent)
        if group is None:
            return False
        self._link.send("pause", agent=agent.name, until_mono=until_mono)
        return group.freeze()

    def thaw(self, agent: Agent) -> bool:
        group = self.of(agent)
        done = group is None or group.thaw()
        self._link.send("resume", agent=agent.name)
        return done

    def release(self, agent: Agent) -> None:
        """Its tree is gone: no ceiling, no protection, nothing frozen stays behind."""
        group = self.of(agent)
        if group is not None:
            group.release()

    def drop(self, name: str) -> None:
        group = self._groups.pop(name, None)
        if group is not None:
            group.close()

    def close(self) -> None:
        for name in list(self._groups):
            self.drop(name)
