"""Which replicas go when fewer are needed, and what must not end the following of queues."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast import limits
from holdfast.clock import SystemClock
from holdfast.healing.model import Ladder, Phase, Policy, SetAside
from holdfast.health.beats import Beats
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.density.scaling import Parts, Scaler
from holdfast.spec.model import AgentSpec, Scaling

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REPLICAS_DOWN_S", 0.02)
    monkeypatch.setattr(limits, "REPLICAS_LOOK_S", 0.01)


def replica(number: int, most: int) -> Agent:
    scaling = Scaling(group="crew", number=number, least=1, most=most, per_queue_depth=1.0)
    spec = AgentSpec(name=f"crew-{number}", command=("work",), working_dir="/", scaling=scaling)
    running = Ladder(wanted=True, phase=Phase.HEALTHY, running=True, gate_passed=True, instance=1)
    return Agent(spec, Policy(), Memory(ladder=running))


class Ground:
    """A crew of which all run, and nothing waits for it."""

    def __init__(self, most: int) -> None:
        self.agents = {one.name: one for one in (replica(number, most) for number in range(1, most + 1))}
        self.records: list[dict[str, Any]] = []
        self.fits: Callable[[Agent], int] = lambda agent: 0
        self.scaler = Scaler(
            Parts(
                agents=self.agents,
                clock=SystemClock(),
                recorder=SimpleNamespace(  # type: ignore[arg-type]
                    record=lambda kind, name, text, body, **more: self.records.append(body)
                ),
                healer=SimpleNamespace(observe=self.observe),  # type: ignore[arg-type]
                fits=lambda agent: self.fits(agent),
                asleep=lambda agent: False,
                wake=lambda agent, why: None,
                ready=lambda: True,
            )
        )

    def observe(self, agent: Agent, seen: Any, now: float) -> None:
        assert isinstance(seen, SetAside)
        agent.memory.ladder = replace(agent.ladder, aside="spare", phase=Phase.SPARE, running=False)

    def works(self, number: int, *, until_mono: float | None = None, idle: bool = False) -> None:
        """What it says with its beats."""
        self.agents[f"crew-{number}"].beats = Beats(
            instance=1, since_mono=0.0, busy_until_mono=until_mono, idle=idle, idle_said=True
        )

    def running(self) -> list[int]:
        return [number for number, one in enumerate(self.agents.values(), start=1) if one.ladder.running]

    async def until(self, *numbers: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.running() != list(numbers):
                await asyncio.sleep(0.005)


def live(most: int, life: Callable[[Ground], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        ground = Ground(most)
        ground.scaler.begin()
        try:
            await life(ground)
        finally:
            ground.scaler.close()

    asyncio.run(main())


def test_who_says_that_it_is_at_work_is_not_stopped_in_the_middle_of_it() -> None:
    async def life(ground: Ground) -> None:
        ground.works(4)
        ground.works(2, until_mono=time.monotonic() + 1000, idle=True)
        ground.works(3, idle=True)
        ground.scaler.report("crew", 0)
        await ground.until(2, 4)
        ground.works(4, idle=True)
        await ground.until(2)
        told = [(body["before"], body["after"], body["wished"], body["agents"]) for body in ground.records]
        assert told == [(4, 2, 1, ["crew-1", "crew-3"]), (2, 1, 1, ["crew-4"])]

    live(4, life)


def test_a_mistake_in_one_look_does_not_end_the_following_of_queues() -> None:
    async def life(ground: Ground) -> None:
        ground.agents["crew-2"].memory.ladder = replace(
            ground.agents["crew-2"].ladder, aside="spare", phase=Phase.SPARE, running=False
        )
        failed = asyncio.Event()

        def fails_once(agent: Agent) -> int:
            if failed.is_set():
                return 0
            failed.set()
            raise ArithmeticError

        ground.fits = fails_once
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        ground.scaler.report("crew", 0)
        await failed.wait()
        await ground.until(1)

    live(3, life)
