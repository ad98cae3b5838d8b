"""Whether the machine leaves agents the CPU, memory and disk that they need to answer; tells the ladders concerned.

Invariant: read at most once a second and only while somebody asks or a ladder is held back; a ladder that was told of
starvation is told of its end, also by the next keeper and after its instance died. Called by the health loop, which
asks while it probes, and by the beats, which ask before they call silence a failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from holdfast.healing.model import Starved
from holdfast.keeper.acting.healer import Healer
from holdfast.keeper.agent import Agent
from holdfast.node import pressure

PRESSURE_EVERY_S = 1.0


class Starvation:
    """`changed(starved, now)` is called on each change."""

    def __init__(self, agents: dict[str, Agent], healer: Healer) -> None:
        self._agents = agents
        self._healer = healer
        self.pressure = pressure.Pressure()
        self.changed: Callable[[bool, float], None] = lambda starved, now: None
        self.excused: Callable[[Agent], bool] = lambda agent: False  # held back for another reason of the node
        self.holders: list[Callable[[Agent], bool]] = []  # others who hold agents back and end it themselves
        self._read_mono = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    @property
    def starved(self) -> bool:
        return self.pressure.starved

    @property
    def read_mono(self) -> float:
        """When it was last felt."""
        return self._read_mono

    def begin(self) -> None:
        """A former keeper may have left ladders held back."""
        self._look_again()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def feel(self, now: float) -> bool:
        """Read the pressure unless that was just done. True while the machine is starved."""
        if now - self._read_mono >= PRESSURE_EVERY_S:
            self._read_mono = now
            before = self.pressure.starved
            self.pressure = pressure.judge(self.pressure, pressure.read(now))
            if self.pressure.starved is not before:
                self.changed(self.pressure.starved, now)
            if not self.pressure.starved:
                for agent in self._held():
                    if self.excused(agent) or any(holds(agent) for holds in self.holders):
                        continue
                    self._healer.observe(agent, Starved(on=False), now)
        return self.pressure.starved

    def hold_back(self, agent: Agent, now: float, why: str = "") -> None:
        """Only ladders for which it matters are told: a healthy fleet would fill the ledger with it."""
        if not agent.ladder.starved:
            why = why or f"the machine is starved: {self.pressure.why}"
            self._healer.observe(agent, Starved(on=True), now, text=why)
            self._look_again()

    def _held(self) -> list[Agent]:
        return [agent for agent in self._agents.values() if agent.ladder.starved]

    def _look_again(self) -> None:
        if self._timer is None and self._held():
            self._timer = asyncio.get_running_loop().call_later(PRESSURE_EVERY_S, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.feel(asyncio.get_running_loop().time())
        self._look_again()
