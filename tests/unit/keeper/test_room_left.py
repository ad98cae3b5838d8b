"""`capacity` put together: who counts with what, which agents are one kind, what is said when nothing fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.density.history import History, step_of
from holdfast.density.node_memory import which
from holdfast.keeper.density import room_left
from holdfast.keeper.density.room_left import Capacity, Known, NodeKnown

MB = 1_000_000


def seen(work_mb: int, cpu: float = 0.1, disk_mb: int = 0) -> History:
    return History(work={step_of(work_mb * MB): 100}, seen_s=1000.0, cpu_s=1000.0 * cpu, disk_bytes=disk_mb * MB)


def known(name: str, **changes: Any) -> Known:
    usual: dict[str, Any] = {
        "recipe": "process", "like": ("x",), "priority": 50, "counts": True, "usage_bytes": 100 * MB,
        "lease_bytes": 120 * MB, "start_bytes": 150 * MB, "limit_bytes": None, "cpu": 0.0, "asleep": False,
        "history": seen(200),
    }  # fmt: skip
    return Known(name=name, **{**usual, **changes})


def look(home: Path, *agents: Known, wanted: str = "", node_mb: int = 4096) -> Capacity:
    node = NodeKnown(node=which(node_mb * MB), budget_bytes=None, home=str(home))
    found = room_left.look(node, agents, wanted)
    assert found is not None
    return found


def test_an_agent_counts_with_its_work_and_not_with_what_it_holds_while_it_waits(tmp_path: Path) -> None:
    found = look(tmp_path, known("one"))
    assert 200 * MB * 1.1 <= found.counted_bytes <= 220 * MB * 1.1 + 16 * MB
    assert found.counted_bytes + found.free_bytes == found.budget_bytes
    kind = found.kinds[0]
    assert (kind.name, kind.seen, kind.limited_by) == ("one", True, "cpu" if kind.limited_by == "cpu" else "memory")
    assert 0 < kind.more < 4096 // 200


@pytest.mark.parametrize(
    ("changes", "least_mb", "most_mb"),
    [
        ({"lease_bytes": 900 * MB}, 900, 900),
        ({"asleep": True, "lease_bytes": 30 * MB}, 30, 30),
        ({"counts": False}, 0, 0),
        ({"history": History(), "usage_bytes": None, "lease_bytes": 0}, 120, 150),  # its start, as far as it is work
        ({"limit_bytes": 50 * MB}, 60, 130),
    ],
)
def test_what_one_agent_is_counted_with(tmp_path: Path, changes: dict[str, Any], least_mb: int, most_mb: int) -> None:
    assert least_mb * MB <= look(tmp_path, known("one", **changes)).counted_bytes <= most_mb * MB


def test_replicas_are_one_kind_and_other_agents_stand_alone(tmp_path: Path) -> None:
    found = look(tmp_path, known("crew-1"), known("crew-2"), known("crew-x"), known("claw", recipe="openclaw"))
    assert [(kind.name, len(kind.agents)) for kind in found.kinds] == [
        ("crew", 2), ("crew-x", 1), ("openclaw", 1), ("hermes", 0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("crew-2", ["crew"]), ("crew", ["crew"]), ("process", ["crew", "other"]), ("hermes", ["hermes"])],
)
def test_a_kind_is_found_by_agent_group_and_recipe(tmp_path: Path, wanted: str, names: list[str]) -> None:
    found = look(tmp_path, known("crew-1"), known("crew-2"), known("other"), wanted=wanted)
    assert [kind.name for kind in found.kinds] == names


def test_of_a_name_that_nobody_has_there_is_no_answer(tmp_path: Path) -> None:
    assert room_left.look(NodeKnown(node=None, budget_bytes=MB, home=str(tmp_path)), [known("one")], "two") is None


def test_equal_names_of_different_kinds_do_not_mix(tmp_path: Path) -> None:
    found = look(
        tmp_path,
        *(known(f"crew-{number}") for number in (1, 2)),
        *(known(f"crew-{number}", like=("y",), history=seen(1000)) for number in (3, 4)),
    )
    small, large = found.kinds[:2]
    assert small.work_bytes < large.work_bytes
    assert small.more > large.more


def test_a_recipe_that_nobody_runs_is_answered_with_its_own_figures(tmp_path: Path) -> None:
    kind = look(tmp_path, wanted="openclaw").kinds[0]
    assert not kind.seen
    assert kind.start_bytes > 1200 * MB
    assert kind.more in (2, 3)


def test_too_many_agents_leave_nothing_and_it_is_said(tmp_path: Path) -> None:
    found = look(tmp_path, *(known(f"crew-{number}", history=seen(1000)) for number in range(9)))
    assert found.free_bytes < 0
    assert found.kinds[0].more == 0
    assert "the least important would go" in found.notes[0]


def test_an_agent_larger_than_the_node_takes_no_room_and_is_named(tmp_path: Path) -> None:
    found = look(tmp_path, known("giant", start_bytes=9000 * MB))
    assert found.counted_bytes == 0
    assert found.notes == ["larger than the whole node, so not counted: giant"]


def test_sleepers_and_agents_not_seen_yet_are_noted(tmp_path: Path) -> None:
    notes = look(tmp_path, known("a", asleep=True), known("b", history=History())).notes
    assert notes[0].startswith("1 asleep hold 120 MB; awake and at work they need 2")
    assert notes[1] == "not seen at work yet: b"
