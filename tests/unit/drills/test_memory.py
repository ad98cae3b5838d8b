"""Drills about memory: on a small node of their own, never on a user's agents, and nowhere it would be dangerous."""

from __future__ import annotations

import pytest

from holdfast.cli import drill
from holdfast.drills import memory_stage, run
from holdfast.drills.faults import FAULTS
from holdfast.drills.memory_stage import HEAVY_BYTES, HOLDS_BYTES, IMPORTANT, MB, MOST_BYTES, NODE_BYTES, MemoryStage
from holdfast.drills.memory_ways import FORK_BYTES, FORKS
from holdfast.node.memory import NodeMemory, NodeReading
from holdfast.spec import units

MEMORY = [fault for fault in FAULTS.values() if fault.memory]


def test_each_has_a_way_and_a_stage_of_its_own_and_none_is_tried_on_a_real_agent() -> None:
    assert [fault.name for fault in MEMORY] == ["leak", "spike", "fork-memory", "start-storm", "neighbour"]
    assert not any(fault.real for fault in MEMORY)
    assert all(fault.name in run._WAYS for fault in FAULTS.values())
    together = drill._together([FAULTS["kill"], FAULTS["spike"], FAULTS["hang"], FAULTS["leak"]])
    assert [[fault.name for fault in here] for here in together] == [["kill", "hang"], ["spike"], ["leak"]]


@pytest.mark.parametrize("fault", MEMORY, ids=lambda fault: fault.name)
def test_whoever_is_hurt_is_less_important_than_who_must_not_notice(fault: object) -> None:
    stage = MemoryStage.__new__(MemoryStage)
    stage.fault = fault  # type: ignore[assignment]
    stage.group = None
    hurt = stage.settings(f"drill-{stage.fault.name}")
    for name in stage.others():
        other = stage.settings(name)
        assert other["priority"] > hurt["priority"] or name not in IMPORTANT
    starts = [units.parse_size(stage.settings(name)["memory"]["start"]) for name in stage.others()]
    if fault is FAULTS["start-storm"]:
        assert sum(starts) > NODE_BYTES  # else nobody would have to wait
        assert units.parse_size(hurt["memory"]["start"]) > HEAVY_BYTES
    assert stage.top()["node"]["memory"] == str(NODE_BYTES)


def test_what_is_taken_is_more_than_the_node_has_and_each_process_less_than_who_matters() -> None:
    assert MOST_BYTES > NODE_BYTES
    assert FORKS * FORK_BYTES > NODE_BYTES
    assert FORK_BYTES <= HOLDS_BYTES


@pytest.mark.parametrize(("free_mb", "refused"), [(1000, True), (4000, False)])
def test_a_machine_without_memory_to_spare_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, free_mb: int, refused: bool
) -> None:
    told = NodeReading(8000 * MB, free_mb * MB, 0)
    monkeypatch.setattr(NodeMemory, "read", lambda self: told)
    assert bool(memory_stage.unfit()) is refused
    if refused:
        assert "1.05 GB of memory are free, 1.81 GB are needed" in memory_stage.unfit()
