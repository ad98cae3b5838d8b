"""Leaks at work: what is recorded, and when a restart is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import limits
from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.health.trend import Trend
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.density.growth import Growth, Room
from holdfast.spec.model import AgentSpec, Limits
from tests.harness.manual_clock import ManualClock

MB = 1_000_000
SLOW = Trend(10 * MB / 3600, 3600.0)
FAST = Trend(1 * MB, 600.0)


class Desk:
    """Stands for the ledger and for who restarts; keeps the order of both."""

    def __init__(self, room: Room | None = None) -> None:
        self.done: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.clock = ManualClock()
        self.growth = Growth(
            self.clock,
            self,  # type: ignore[arg-type]
            idle=lambda agent: None,
            restart=lambda agent, why: self.done.append(f"restart: {why}"),
            room=lambda: room,
            ready=lambda: True,
            changed=lambda agent: None,
        )

    def record(self, kind: str, agent: str, text: str, body: dict[str, Any], *, durable: bool = False) -> None:
        self.done.append(kind + (" durable" if durable else ""))
        self.bodies.append(body)


def agent(limit: int | None = 1000 * MB, phase: Phase = Phase.HEALTHY, **policy: Any) -> Agent:
    spec = AgentSpec(name="a", command=("true",), working_dir="/", limits=Limits(memory_bytes=limit))
    return Agent(spec, Policy(**policy), Memory(ladder=Ladder(phase=phase, instance=1, running=True)))


def test_the_record_with_its_numbers_comes_before_the_restart_and_neither_comes_again() -> None:
    desk, one = Desk(), agent()
    for _ in range(3):
        desk.growth.follow(one, 950 * MB, FAST, None)
        desk.clock.advance(limits.LEAK_AGAIN_S / 4)
    assert [each.partition(":")[0] for each in desk.done] == ["density.leak durable", "restart"]
    assert desk.bodies[0]["used_bytes"] == 950 * MB
    assert (desk.bodies[0]["limit_bytes"], desk.bodies[0]["when"]) == (1000 * MB, "last")
    assert desk.bodies[0]["leaked_at"] == one.memory.leaked_at > 0


def test_what_is_ahead_is_said_once_for_each_instance() -> None:
    desk, one = Desk(), agent()
    for trend in (SLOW, None, SLOW, SLOW):
        desk.growth.follow(one, 600 * MB, trend, None)
    assert desk.done == ["density.leaking"]
    assert "is restarted before that" in desk.growth.word("a")
    desk.growth.follow(one, 600 * MB, None, None)
    assert desk.growth.word("a") == ""


@pytest.mark.parametrize(
    "one",
    [agent(phase=Phase.STARTING), agent(phase=Phase.STOPPING), agent(hands_off=True), agent(limit=None)],
    ids=["starting", "stopping", "maintenance", "no limit"],
)
def test_who_is_not_well_or_has_no_limit_is_left_alone(one: Agent) -> None:
    desk = Desk()
    desk.growth.follow(one, 950 * MB, FAST, FAST)
    assert desk.done == []


def test_without_a_limit_the_room_of_the_node_counts_for_those_who_fill_it() -> None:
    room = Room(budget_bytes=1000 * MB, free_bytes=20 * MB)
    desk = Desk(room)
    desk.growth.follow(agent(limit=None), 50 * MB, FAST, None)
    assert desk.done == []
    desk.growth.follow(agent(limit=None), 600 * MB, FAST, None)
    assert desk.bodies[0]["limit_bytes"] == 620 * MB
