"""What `why` and `next` say where memory, sleep or the queue of starts is the reason."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper.agent import Agent, Memory
from holdfast.keeper.density import sentences
from holdfast.keeper.density.shown import NOTHING, Shown
from holdfast.keeper.telling.views import AgentRow, QueuedView, ReplicaView
from holdfast.spec.model import AgentSpec

MB = 1_000_000


def agent(phase: Phase, text: str = "", waits_for: str = "") -> Agent:
    spec = AgentSpec(name="one", command=("x",), working_dir="/")
    made = Agent(spec, Policy(), Memory(ladder=Ladder(phase=phase, aside_text=text)))
    made.waits_for = waits_for
    made.rest_view.why = "no work for 15 min"
    return made


WAITS = QueuedView(position=2, why="needs 300 MB to start, 100 MB are free", estimate_s=12.0)
CASES: list[tuple[Agent, dict[str, Any], str, str]] = [
    (agent(Phase.QUEUED), {"queued": WAITS}, WAITS.why, "number 2 in the queue of starts, starts in about 12 s"),
    (agent(Phase.QUEUED, waits_for="waits for db"), {"queued": WAITS}, "", ""),
    (
        agent(Phase.QUEUED), {"queued": WAITS, "need_bytes": 900 * MB, "budget_bytes": 800 * MB}, WAITS.why,
        "is held back until the node has more memory; others are started meanwhile",
    ),
    (
        agent(Phase.SHED), {"need_bytes": 300 * MB, "room_bytes": -5}, "",
        "comes back by itself when 300 MB are free (0 B now)",
    ),
    (
        agent(Phase.SHED), {"need_bytes": 300 * MB, "room_bytes": 400 * MB}, "",
        "comes back by itself if the 400 MB that are free stay so for a moment",
    ),
    (
        agent(Phase.HEALTHY), {"asleep": "frozen", "asleep_s": 60.0, "saved_bytes": 80 * MB, "wake_s": 0.1},
        "asleep for 1 min: no work for 15 min; 80 MB given back",
        "is woken by what needs it, or by `holdfast wake one`; its last wake-up took 0.1 s",
    ),
    (
        agent(Phase.HIBERNATING, "had no work for 20 min"), {"asleep": "stopped"}, "had no work for 20 min",
        "is woken by what needs it, or by `holdfast wake one`",
    ),
    (
        agent(Phase.SPARE), {"replica": ReplicaView(group="crew", number=3, wanted=2)}, "",
        "starts when crew needs more than 2, and there is memory for it",
    ),
    (agent(Phase.HEALTHY), {}, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("one", "shown", "why", "then"), CASES)
def test_the_two_sentences(one: Agent, shown: dict[str, Any], why: str, then: str) -> None:
    told = Shown(**shown)
    assert sentences.why(one, told) == why
    assert sentences.next_step(one, told) == then


def test_every_shown_field_is_one_of_a_row() -> None:
    assert set(NOTHING.row()) <= set(AgentRow.__struct_fields__)
