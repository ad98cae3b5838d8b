"""What init may restart by itself: the pure rule."""

from __future__ import annotations

import pytest

from holdfast.init.agent import Agent, judge_restart
from holdfast.init.protocol import AgentDef, Permit

STAT = [1, 2, 3]


@pytest.mark.parametrize(
    ("permit", "code", "once", "guarded", "expected"),
    [
        (Permit([0.0]), 1, False, {}, ("waiting", 100.0)),
        (Permit([10.0, 60.0]), None, False, {}, ("waiting", 110.0)),
        (Permit([0.0], not_before_mono=130.0), 1, False, {}, ("waiting", 130.0)),
        (Permit([]), 1, False, {}, ("asking", 0.0)),
        (Permit([0.0]), 0, True, {}, ("finished", 0.0)),
        (Permit([0.0]), 0, False, {}, ("waiting", 100.0)),
        (Permit([0.0]), 1, True, {}, ("waiting", 100.0)),
        (Permit([0.0], ask_codes=[78]), 78, False, {}, ("asking", 0.0)),
        (Permit([0.0], ask_codes=[78]), 77, False, {}, ("waiting", 100.0)),
        (Permit([0.0], guarded={"/c": STAT}), 1, False, {"/c": STAT}, ("waiting", 100.0)),
        (Permit([0.0], guarded={"/c": STAT}), 1, False, {"/c": [9, 9, 9]}, ("asking", 0.0)),
        (Permit([0.0], guarded={"/c": STAT}), 1, False, {"/c": None}, ("asking", 0.0)),
        (Permit([0.0], guarded={"/c": None}), 1, False, {"/c": None}, ("waiting", 100.0)),
    ],
)
def test_a_restart_needs_a_valid_permit(
    permit: Permit,
    code: int | None,
    once: bool,
    guarded: dict[str, list[int] | None],
    expected: tuple[str, float],
) -> None:
    state, due, why = judge_restart(permit, code, once, 100.0, guarded)
    assert (state, due) == expected
    assert why


def test_an_agents_record_restores_it() -> None:
    definition = AgentDef(["a"], {}, "/", "/f", "/l")
    agent = Agent("a", definition, Permit([1.0, 2.0]), "waiting", 7, 8, 9, 1.5, 2.5, 3.5, "down", "why", True)
    other = Agent("a", definition)
    other.restore(agent.record())
    assert other == agent
