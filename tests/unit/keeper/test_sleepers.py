"""Who falls asleep, and falls asleep again, whatever woke it or ended it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast import limits
from holdfast.clock import SystemClock
from holdfast.healing.model import CalledBack, Ladder, Phase, Policy, SetAside
from holdfast.health.beats import Beats
from holdfast.keeper.agent import Agent, Memory, World
from holdfast.keeper.density.idling import Parts
from holdfast.keeper.density.shown import Look
from holdfast.keeper.density.sleeping import Sleepers
from holdfast.keeper.tasks import Tasks
from holdfast.spec.model import AgentSpec, Idle

NAME = "bot"
NOBODY = 1 << 22 | 1  # above all process numbers
PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLEEP_LOOK_MIN_S", "SLEEP_LOOK_S", "HIBERNATE_WAKE_S"):
        monkeypatch.setattr(limits, name, 0.01)


class Group:
    """Stands still and goes on."""

    frozen = False

    def read(self) -> Any:
        return SimpleNamespace(usage_bytes=1, frozen=self.frozen)

    def page_out(self) -> int:
        return 0


class Ground:
    """One idle agent, and sleepers that look at it. Its process is none, which nobody calls."""

    def __init__(self, action: str) -> None:
        spec = AgentSpec(name=NAME, command=("prog",), working_dir="/", idle=Idle(after_s=0.01, action=action))  # type: ignore[arg-type]
        self.agent = Agent(spec, Policy(), Memory(ladder=Ladder(wanted=True)))
        self.group = Group()
        self.sleepers = Sleepers(
            Parts(
                agents={NAME: self.agent},
                clock=SystemClock(),
                recorder=SimpleNamespace(record=lambda *words, **more: None),  # type: ignore[arg-type]
                healer=SimpleNamespace(observe=self.observe),  # type: ignore[arg-type]
                groups=SimpleNamespace(  # type: ignore[arg-type]
                    of=lambda agent: self.group,
                    members=lambda name: [],
                    freeze=lambda agent, until: self.stand(still=True),
                    thaw=lambda agent: self.stand(still=False),
                ),
                places=SimpleNamespace(cgroups_of=lambda agent: ()),  # type: ignore[arg-type]
                tasks=Tasks(),
                scarce=lambda: False,
                next_at=lambda agent: None,
                quiet=lambda agent, on: None,
                ready=lambda: True,
            )
        )

    def stand(self, *, still: bool) -> bool:
        self.group.frozen = still
        return True

    def observe(self, agent: Agent, seen: Any, now: float, **record: Any) -> None:
        if isinstance(seen, SetAside):
            self.ladder(aside=seen.why, phase=Phase.HIBERNATING, running=False)
        elif isinstance(seen, CalledBack):
            self.ladder(aside="", phase=Phase.QUEUED)

    def ladder(self, **changed: Any) -> None:
        self.agent.memory.ladder = replace(self.agent.ladder, **changed)
        self.sleepers.follow(self.agent, 0.0)

    def run(self, instance: int) -> None:
        """An instance that is well and says that it has nothing to do."""
        self.agent.world = World(state="up", pid=NOBODY, epoch=instance)
        self.agent.beats = Beats(instance=instance, since_mono=0.0, idle=True, idle_said=True)
        self.ladder(aside="", phase=Phase.HEALTHY, running=True, gate_passed=True, instance=instance)

    async def until(self, asleep: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.agent.rest_view.asleep != asleep:
                await asyncio.sleep(0.005)

    async def looked_until_asleep(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not self.agent.rest_view.asleep:
                await self.looked(1)

    async def looked(self, times: int = 3) -> None:
        """So many looks from now on are over."""
        for _ in range(times):
            await self.sleepers._idling.look()


def live(action: str, life: Callable[[Ground], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        ground = Ground(action)
        ground.run(1)
        ground.sleepers.begin()
        try:
            await life(ground)
        finally:
            ground.sleepers.close()

    asyncio.run(main())


def test_a_stopped_one_that_a_person_started_falls_asleep_again() -> None:
    async def life(ground: Ground) -> None:
        await ground.until("stopped")
        ground.run(2)
        assert ground.agent.rest_view.asleep == ""
        assert ground.agent.rest_view.why == "it was started"
        await ground.until("stopped")

    live("stop", life)


def test_a_frozen_one_whose_process_was_killed_is_watched_no_more_and_its_next_instance_sleeps_as_well() -> None:
    async def life(ground: Ground) -> None:
        await ground.until("frozen")
        ground.ladder(running=False, phase=Phase.RECOVERING)
        assert not ground.group.frozen
        assert not ground.sleepers._watch.watches(NAME)
        ground.run(2)
        await ground.until("frozen")
        assert ground.group.frozen

    live("freeze", life)


@pytest.mark.parametrize("action", ["freeze", "stop"])
def test_in_maintenance_only_a_person_puts_it_to_sleep(action: str) -> None:
    async def life(ground: Ground) -> None:
        ground.agent.policy = replace(ground.agent.policy, hands_off=True)
        await ground.until("")
        await ground.looked()
        await asyncio.sleep(0.05)
        await ground.looked()
        assert ground.agent.rest_view.asleep == ""
        assert not ground.sleepers.may(NAME)
        assert ground.sleepers.sleep_now(ground.agent, "a person asked", by_hand=True)

    live(action, life)


def test_one_that_was_frozen_by_hand_and_let_go_on_by_somebody_else_is_found_awake() -> None:
    async def life(ground: Ground) -> None:
        assert ground.sleepers.sleep_now(ground.agent, "a person asked", by_hand=True)
        ground.group.frozen = False
        await ground.until("")

    live("none", life)


def awake(ground: Ground) -> str:
    """As `describe` and `ps --json` show it."""
    semaphore = SimpleNamespace(
        freshen=lambda: None, reading=None, victims=list, lease=lambda name: None, budget_bytes=None
    )
    keeper: Any = SimpleNamespace(
        semaphore=semaphore,
        starts=SimpleNamespace(lease_bytes=lambda agent: 0),
        agents={NAME: ground.agent},
        clock=SystemClock(),
    )
    return Look(keeper).of(ground.agent).row()["awake"]  # type: ignore[no-any-return]


def test_who_stays_awake_is_told_why_and_who_sleeps_or_never_may_is_not() -> None:
    async def life() -> None:
        ground = Ground("freeze")
        patient = replace(ground.agent.spec, idle=Idle(after_s=900.0, action="freeze"))
        ground.agent.spec = patient
        ground.run(1)
        ground.agent.beats = None
        await ground.looked()
        assert awake(ground).startswith("it gives no sign of being idle")
        ground.run(1)
        await ground.looked()
        assert awake(ground) == "it is idle, and sleeps when it was so for 15 min"
        ground.ladder(incident="i-1")
        await ground.looked()
        assert awake(ground) == "an incident is open"
        ground.ladder(incident="")
        ground.agent.policy = replace(ground.agent.policy, hands_off=True)
        await ground.looked()
        assert awake(ground) == "it is in maintenance"
        ground.agent.policy = replace(ground.agent.policy, hands_off=False)
        ground.agent.spec = replace(patient, idle=Idle(action="none"))
        await ground.looked()
        assert awake(ground) == ""
        ground.agent.spec = replace(patient, idle=Idle(after_s=0.01, action="freeze"))
        await ground.looked_until_asleep()
        assert awake(ground) == ""
        ground.sleepers.close()

    asyncio.run(life())
