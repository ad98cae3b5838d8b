"""How many more replicas the node's memory allows, as the scaler is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.density.model import State
from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.density import growth_wiring
from holdfast.spec.model import AgentSpec

MB = 1_000_000


def agent(name: str, phase: Phase) -> Agent:
    spec = AgentSpec(name=name, command=("work",), working_dir="/")
    return Agent(spec, Policy(), Memory(ladder=Ladder(wanted=True, phase=phase)))


def fits(room: int, needs: dict[str, int], phases: dict[str, Phase], granted: int = 0) -> int:
    """For the first of them."""
    agents = {name: agent(name, phase) for name, phase in phases.items()}
    keeper: Any = SimpleNamespace(
        agents=agents,
        clock=None,
        recorder=None,
        healer=None,
        beats=SimpleNamespace(),
        semaphore=SimpleNamespace(reading=object(), room=lambda: room, state=State(read_mono=5.0)),
        starts=SimpleNamespace(
            need=lambda one: needs[one.name], taken_since=lambda since: granted if since == 5.0 else 0
        ),
    )
    asked: int = growth_wiring.scaler(keeper)._parts.fits(next(iter(agents.values())))
    return asked


SPARE, QUEUED = Phase.SPARE, Phase.QUEUED


@pytest.mark.parametrize(
    ("room", "others", "granted", "expected"),
    [
        (130 * MB, {}, 0, 2),
        (130 * MB, {"b": 60 * MB}, 0, 1),  # called back for another queue a moment ago, and not yet granted
        (130 * MB, {"b": 60 * MB, "c": 60 * MB}, 0, 0),
        (130 * MB, {}, 60 * MB, 1),  # granted after the last reading
        (130 * MB, {"b": 900 * MB}, 0, 2),  # whoever is too large for what there is keeps nobody out
        (-50 * MB, {}, 0, 0),
    ],
)
def test_memory_that_somebody_who_waits_will_take_is_not_promised_twice(
    room: int, others: dict[str, int], granted: int, expected: int
) -> None:
    phases = {"a": SPARE, **dict.fromkeys(others, QUEUED)}
    assert fits(room, {"a": 60 * MB, **others}, phases, granted) == expected
