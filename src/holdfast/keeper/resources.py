"""Reads what agents use, at a pace that costs next to nothing, and keeps the curve of their memory.

Invariant: nothing here restarts anything. Fast memory readings happen only while somebody looks or a limit is
declared; everything else once in LOOK_EVERY_S, in slices, so that no probe waits for it. High-rate readings are never
written down. Called by the health loop (instances come and go) and by the keeper for the API and the post-mortem.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast import limits
from holdfast.clock import Clock
from holdfast.health.trend import Curve
from holdfast.health.usage import Usage
from holdfast.keeper.agent import Agent
from holdfast.keeper.tasks import Tasks


class Resources:
    """`curve(name)` is what a post-mortem draws."""

    def __init__(
        self,
        agents: dict[str, Agent],
        clock: Clock,
        tasks: Tasks,
        cgroups_of: Callable[[Agent], tuple[str, ...]],
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._tasks = tasks
        self._cgroups_of = cgroups_of
        self._usage = Usage()
        self._curves: dict[str, Curve] = {}
        self._used: dict[str, int] = {}
        self._read_mono = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    # --- for others ----------------------------------------------------------------------------------------------
    def curve(self, name: str) -> list[tuple[float, int]]:
        """Memory of an agent over the last day at most, oldest first: (wall clock, bytes). [] when nothing is known."""
        curve = self._curves.get(name)
        if curve is None:
            return []
        behind = self._clock.now_at() - self._clock.now_mono()
        return [(point.mono + behind, point.used_bytes) for point in curve.points()]

    def rss_bytes(self, now: float) -> dict[str, int]:
        """Memory in use by agent, at most a second old."""
        if now - self._read_mono >= limits.MEMORY_SHOWN_EVERY_S:
            self._read(now)
        return self._used

    # --- instances come and go -----------------------------------------------------------------------------------
    def began(self, agent: Agent, now: float) -> None:
        """A new instance runs (or was found running)."""
        self._usage.watch(agent.name, agent.world.pid, self._cgroups_of(agent))
        self._curves.setdefault(agent.name, Curve())
        self._read_mono = float("-inf")  # the next look reads
        self._arm()

    def ended(self, name: str) -> None:
        """The instance is gone; its curve stays for the post-mortem."""
        self._usage.drop(name)
        self._used.pop(name, None)

    def forget(self, name: str) -> None:
        """The agent was taken out of the fleet."""
        self.ended(name)
        self._curves.pop(name, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._usage.close()

    # --- time ----------------------------------------------------------------------------------------------------
    def _arm(self) -> None:
        """One timer, only while there is something to read."""
        if self._timer is not None or not self._usage.watched():
            return
        self._timer = asyncio.get_running_loop().call_later(self._pause_s(), self._tick)

    def _pause_s(self) -> float:
        limited = any(agent.spec.limits.memory_bytes for agent in self._agents.values() if agent.usage_of)
        return limits.MEMORY_EVERY_S if limited else limits.LOOK_EVERY_S

    def _tick(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        self._read(now)
        self._arm()

    def _read(self, now: float) -> None:
        self._read_mono = now
        self._used = self._usage.rss_bytes()
        for name, used in self._used.items():
            self._curves[name].add(now, used)
