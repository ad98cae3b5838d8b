"""Planned restarts at work, with a wall clock that is set by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from holdfast import limits
from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper.acting.planned import PlannedRestarts
from holdfast.keeper.agent import Agent, Memory
from holdfast.spec.model import AgentSpec, PlannedTime, Restart

FOUR = datetime(2026, 11, 21, 4, 0, tzinfo=UTC).timestamp()


@dataclass
class Hand:
    """A clock, a recorder and a restarting hand in one."""

    at: float
    records: list[tuple[str, str]] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)

    def now_at(self) -> float:
        return self.at

    def now_mono(self) -> float:
        return 0.0

    def record(self, kind: str, agent: str, text: str, body: Any = None, **_: Any) -> None:
        self.records.append((agent, text))

    def restart(self, agent: Agent, why: str) -> None:
        assert self.records[-1][0] == agent.name, "the slot is settled before the act"
        self.restarted.append(agent.name)
        agent.memory.ladder = Ladder(phase=Phase.STOPPING, running=True, gate_passed=True, instance=1)


def make(hand: Hand, count: int, *, when_idle: bool = False) -> tuple[dict[str, Agent], PlannedRestarts]:
    plan = Restart(at=(PlannedTime(hour=4, minute=0),), when_idle=when_idle, idle_wait_s=3600)
    agents = {}
    for number in range(count):
        spec = AgentSpec(name=f"a{number}", command=("x",), working_dir="/", restart=plan)
        agents[spec.name] = Agent(spec, Policy(), Memory(ladder=well()))
    restarts = PlannedRestarts(
        agents,
        hand,  # type: ignore[arg-type]
        hand,  # type: ignore[arg-type]
        idle=lambda agent: agent.name not in hand.busy,
        restart=hand.restart,
        ready=lambda: True,
        changed=lambda agent: None,
    )
    return agents, restarts


def well() -> Ladder:
    return Ladder(phase=Phase.HEALTHY, running=True, gate_passed=True, instance=1)


def looked(restarts: PlannedRestarts) -> None:
    async def once() -> None:
        restarts.look()
        restarts.close()

    asyncio.run(once())


def test_a_fleet_with_one_hour_is_restarted_in_turn_and_each_agent_once() -> None:
    hand = Hand(FOUR - 100)
    agents, restarts = make(hand, 5)
    looked(restarts)  # first sight: nothing is owed
    assert not hand.restarted
    hand.at = FOUR + 1
    looked(restarts)
    assert hand.restarted == ["a0", "a1"]
    looked(restarts)
    assert hand.restarted == ["a0", "a1"], "two are under way: the others wait"
    for _ in range(3):
        for agent in agents.values():
            agent.memory.ladder = well()
        looked(restarts)
    assert hand.restarted == ["a0", "a1", "a2", "a3", "a4"]


def test_what_an_outage_made_late_is_passed_over_and_said() -> None:
    hand = Hand(FOUR - 100)
    _, restarts = make(hand, 1)
    looked(restarts)
    hand.at = FOUR + limits.PLANNED_LATE_MAX_S + 60
    looked(restarts)
    looked(restarts)
    assert not hand.restarted
    assert [text for _, text in hand.records[1:]] == ["a planned restart was passed over: it came 11 minutes late"]


def test_a_busy_agent_is_waited_for() -> None:
    hand = Hand(FOUR - 100, busy={"a0"})
    _, restarts = make(hand, 1, when_idle=True)
    looked(restarts)
    hand.at = FOUR + 1800
    looked(restarts)
    assert not hand.restarted
    hand.busy.clear()
    looked(restarts)
    assert hand.restarted == ["a0"]


def test_a_wall_clock_set_back_repeats_nothing() -> None:
    hand = Hand(FOUR - 100)
    agents, restarts = make(hand, 1)
    looked(restarts)
    hand.at = FOUR + 1
    looked(restarts)
    agents["a0"].memory.ladder = well()
    hand.at = FOUR - 3600
    looked(restarts)
    hand.at = FOUR + 1
    looked(restarts)
    assert hand.restarted == ["a0"]
