"""What the semaphore decides on: one reading of the node and of every agent that has, or waits for, memory.

Invariants: an agent that lives is never read as holding nothing (what was last known counts); who runs not and waits
for nothing is left out; nothing here raises. Called by the semaphore's loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from holdfast.density import admission
from holdfast.density.model import Phase, Reading, Seen, State, Want
from holdfast.density.node_memory import Declared, Node
from holdfast.keeper.agent import LIVING, Agent
from holdfast.keeper.density import node_room
from holdfast.keeper.density.groups import AgentGroups
from holdfast.node.memory import NodeReading

_WITH_MEMORY = LIVING | {"sweeping"}


class Starts(Protocol):
    """The leases of starts; see starts.py."""

    def lease_bytes(self, agent: Agent) -> int: ...

    def need(self, agent: Agent) -> int: ...

    def follow(
        self, agent: Agent, usage_bytes: int, rate_bytes_s: float, now: float, *, held_back: bool = False
    ) -> None: ...


class Sleepers(Protocol):
    """Agents that sleep because they are idle; see sleeping.py."""

    def is_frozen(self, name: str) -> bool: ...

    def idle(self, name: str) -> bool: ...

    def may(self, name: str) -> bool: ...

    def sleep_now(self, agent: Agent, why: str) -> bool: ...


class NoStarts:
    """No start holds a lease; what one needs is what its specification says."""

    def lease_bytes(self, agent: Agent) -> int:
        return 0

    def need(self, agent: Agent) -> int:
        said = agent.spec.memory
        return admission.start_need(said.start_bytes, None, said.start_default_bytes, agent.spec.limits.memory_bytes)

    def follow(
        self, agent: Agent, usage_bytes: int, rate_bytes_s: float, now: float, *, held_back: bool = False
    ) -> None:
        pass


class NoSleepers:
    """Nobody sleeps."""

    def is_frozen(self, name: str) -> bool:
        return False

    def idle(self, name: str) -> bool:
        return False

    def may(self, name: str) -> bool:
        return False

    def sleep_now(self, agent: Agent, why: str) -> bool:
        return False


class Readings:
    """See the module. `ending`: the instance of an agent that was told to end, by name."""

    def __init__(self, agents: dict[str, Agent], groups: AgentGroups, ending: Mapping[str, int]) -> None:
        self._agents = agents
        self._groups = groups
        self._ending = ending
        self.starts: Starts = NoStarts()
        self.sleepers: Sleepers = NoSleepers()

    def read(self, state: State, told: NodeReading, node: Node, want: Want | None) -> Reading:
        """All of it, at one moment."""
        seen: list[Seen] = []
        for agent in self._agents.values():
            phase = self.phase(agent)
            if phase is not None:
                seen.append(self._see(agent, phase, state, told.swap_free_bytes))
        used = sum(one.usage_bytes for one in seen)
        there = [one for one in seen if one.phase is not Phase.SHED]
        return Reading(
            node_bytes=node.bytes,
            reserve_bytes=node.reserve_bytes,
            available_bytes=node_room.left(told.available_bytes, node, used),
            agents=tuple(seen),
            ceilings=not there or any(one.holdable for one in there),
            lowest=min((one.spec.priority for one in self._agents.values() if _is_wanted(one)), default=None),
            swap_free_bytes=told.swap_free_bytes,
            want=want,
        )

    def phase(self, agent: Agent) -> Phase | None:
        """None: it holds nothing and waits for nothing."""
        world = agent.world
        if world.state not in _WITH_MEMORY:
            if agent.ladder.aside == "shed":
                return Phase.SHED
            return Phase.STARTING if self.starts.lease_bytes(agent) > 0 else None
        if world.state in ("stopping", "sweeping") or self._ending.get(agent.name) == world.epoch:
            return Phase.LEAVING
        if self.sleepers.is_frozen(agent.name):
            return Phase.HIBERNATING
        return Phase.STARTING if self.starts.lease_bytes(agent) > 0 else Phase.RUNNING

    def _see(self, agent: Agent, phase: Phase, state: State, swap_bytes: int) -> Seen:
        name, spec = agent.name, agent.spec
        if phase is Phase.SHED:
            return Seen(
                name=name,
                priority=spec.priority,
                phase=phase,
                usage_bytes=0,
                start_bytes=self.starts.need(agent),
                shed_mono=agent.ladder.aside_mono,
            )
        lease, known = state.leases.get(name), state.held.get(name)
        memory = self._groups.read(agent, lease.slack_bytes if lease is not None else 0)
        if memory is None or not memory.there:
            lives = agent.world.state in _WITH_MEMORY
            usage, ceiling, hits, frozen = (known.usage_bytes if known and lives else 0), None, 0, False
        else:
            usage, ceiling, hits, frozen = memory.usage_bytes, memory.ceiling_bytes, memory.hits, memory.frozen
        idle = self.sleepers.idle(name)
        return Seen(
            name=name,
            priority=spec.priority,
            phase=phase,
            usage_bytes=usage,
            instance=agent.world.epoch,
            limit_bytes=spec.limits.memory_bytes,
            floor_bytes=spec.memory.min_bytes,
            start_bytes=self.starts.lease_bytes(agent) if phase is Phase.STARTING else 0,
            ceiling_bytes=ceiling,
            hits=max(hits, known.hits) if known is not None and memory is None else hits,
            holdable=self._groups.holds(agent),
            frozen=frozen,
            idle=idle,
            can_ask=spec.memory.ask is not None and agent.ladder.gate_passed,
            can_page=swap_bytes > 0 and idle,
            may_hibernate=idle and spec.idle.action != "none" and self.sleepers.may(name),
            grace_s=spec.stop.grace_s,
        )

    def declared(self) -> list[Declared]:
        """What the fleet asks of the node."""
        return [
            Declared(
                name=agent.name,
                priority=agent.spec.priority,
                floor_bytes=agent.spec.memory.min_bytes,
                need_bytes=self.starts.need(agent),
                limit_bytes=agent.spec.limits.memory_bytes,
            )
            for agent in self._agents.values()
            if _is_wanted(agent)
        ]

    def follow_starts(self, reading: Reading, state: State, now: float) -> None:
        """Starts that are over give their leases back."""
        for one in reading.agents:
            if one.phase is not Phase.STARTING:
                continue
            agent, held = self._agents.get(one.name), state.held.get(one.name)
            if agent is not None and held is not None:
                self.starts.follow(agent, one.usage_bytes, held.rate_bytes_s, now, held_back=held.told_starved)


def _is_wanted(agent: Agent) -> bool:
    """It runs, or would if it could."""
    return agent.ladder.wanted and not agent.leaving
