"""Keeps what was seen of each agent, for `capacity`: one small sum each, in the agent's durable memory.

Invariant: no reading is made for it (it takes part in the look at resources that is made anyway), and the store sees a
change of it once in HISTORY_KEPT_EVERY_S. A start is no work: its peak is kept apart. A frozen agent tells nothing.
Called by Resources after each look; read by capacity.py.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast import limits
from holdfast.density import history
from holdfast.density.model import Lease
from holdfast.healing.model import Phase
from holdfast.keeper.agent import Agent
from holdfast.keeper.watching import beats

_RUNS_WELL = frozenset({Phase.HEALTHY, Phase.DEGRADED})


class Histories:
    """`lease(name)`: memory as the leases count it, where they know it; `changed(name)`: to be written down."""

    def __init__(self, lease: Callable[[str], Lease | None], changed: Callable[[str], None]) -> None:
        self._lease = lease
        self._changed = changed
        self._looked_mono: dict[str, float] = {}
        self._kept_mono: dict[str, float] = {}

    def looked(
        self, agent: Agent, used_bytes: int | None, cores: float | None, disk_bytes: int | None, now: float
    ) -> None:
        """One look at a running agent. `cores`: used since the look before; None at its first one."""
        name, started = agent.name, agent.world.spawned_mono
        before = self._looked_mono.get(name)
        self._looked_mono[name] = now
        lease = self._lease(name)
        used = lease.usage_bytes if lease is not None else used_bytes
        settled = started > 0 and now - started >= limits.HISTORY_START_S
        if not used or not settled or agent.ladder.phase not in _RUNS_WELL or agent.rest_view.asleep:
            return
        agent.memory.history = history.add(
            agent.memory.history,
            used,
            cores if before is not None and before >= started else None,
            now - before if before is not None else 0.0,
            idle=beats.idle(agent) is True,
            disk_bytes=disk_bytes,
        )
        if now - self._kept_mono.setdefault(name, now - limits.HISTORY_KEPT_EVERY_S) >= limits.HISTORY_KEPT_EVERY_S:
            self._kept_mono[name] = now
            self._changed(name)

    def gone(self, name: str) -> None:
        """The agent was taken out of the fleet."""
        self._looked_mono.pop(name, None)
        self._kept_mono.pop(name, None)
