"""What init says, as the ladder understands it."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.healing import model
from holdfast.keeper.acting import fold
from holdfast.keeper.agent import World

EVENTS: list[tuple[dict[str, Any], object]] = [
    ({"ev": "spawned", "epoch": 3, "pid": 9, "cause": "permit"}, model.Spawned(instance=3, cause="permit")),
    ({"ev": "spawned", "epoch": 3, "cause": "its spec changed"}, model.Spawned(instance=3, cause="restart")),
    (
        {"ev": "exited", "epoch": 3, "status": {"code": 7}, "expected": False, "lived_s": 2.5},
        model.Exited(instance=3, code=7, lived_s=2.5),
    ),
    (
        {"ev": "exited", "epoch": 3, "status": {"signal": 9}, "expected": True, "lived_s": 0},
        model.Exited(instance=3, signal=9, expected=True),
    ),
    ({"ev": "exited", "epoch": 3, "status": {}}, model.Exited(instance=3)),
    ({"ev": "swept", "epoch": 3, "left": 2}, model.Swept(instance=3, left=2)),
    ({"ev": "down", "epoch": 3, "reason": "stopped"}, model.Down(instance=3, reason="stopped")),
    ({"ev": "down", "epoch": 3, "reason": "finished"}, model.Down(instance=3, reason="finished")),
    ({"ev": "down", "epoch": 3, "reason": "asking", "why": "budget"}, model.Asked(instance=3, why="budget")),
    ({"ev": "spawn_failed", "epoch": 3, "reason": "ENOENT"}, model.SpawnFailed(instance=3, reason="ENOENT")),
    ({"ev": "waiting", "epoch": 3, "delay_s": 10}, None),
    ({"ev": "of a later version"}, None),
]


@pytest.mark.parametrize(("event", "expected"), EVENTS)
def test_each_event_has_one_meaning(event: dict[str, Any], expected: object) -> None:
    assert fold.observation(event) == expected


def test_the_world_follows_the_events() -> None:
    world = World()
    states = []
    for event in (
        {"ev": "spawned", "epoch": 1, "pid": 5, "starttime": 77, "mono": 10.0, "at": 1e9},
        {"ev": "exited", "epoch": 1, "status": {"code": 1}},
        {"ev": "waiting", "epoch": 1, "delay_s": 10.0, "mono": 11.0},
        {"ev": "spawned", "epoch": 2, "pid": 6, "mono": 21.0},
        {"ev": "exited", "epoch": 1},  # told late: about a former instance
        {"ev": "exited", "epoch": 2},
        {"ev": "down", "epoch": 2, "reason": "asking"},
    ):
        fold.apply(world, event)
        states.append((world.state, world.pid))
    assert states == [
        ("up", 5), ("sweeping", 0), ("waiting", 0), ("up", 6), ("up", 6), ("sweeping", 0), ("asking", 0),
    ]  # fmt: skip
    assert world.due_mono == 21.0


@pytest.mark.parametrize(("number", "word"), [(9, "SIGKILL"), (15, "SIGTERM"), (200, "signal 200")])
def test_signals_have_names(number: int, word: str) -> None:
    assert fold.signal_words(number) == word
