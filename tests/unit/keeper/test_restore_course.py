"""When a restored agent has proved itself, and which snapshots tier 3 takes: as tables."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.healing.model import Ladder, Phase, Policy
from holdfast.keeper.state.restore_course import By, Restoration, Stage, Verdict, choices, judge, told

POLICY = Policy(confirm_s=60.0, has_gate=True)
ONE = Restoration(snapshot="ab" * 16, at=1_800_000_000.0, by=By.PERSON, stage=Stage.PROBATION, instance=4)
UP = Ladder(instance=5, running=True, phase=Phase.STARTING)
WELL = replace(UP, phase=Phase.HEALTHY, gate_passed=True, good_since_mono=100.0)
LADDER = replace(ONE, by=By.LADDER)


@pytest.mark.parametrize(
    ("one", "ladder", "now", "verdict"),
    [
        (ONE, UP, 150.0, Verdict.WAIT),
        (ONE, WELL, 159.0, Verdict.WAIT),
        (ONE, WELL, 160.0, Verdict.KEEP),
        (LADDER, WELL, 160.0, Verdict.KEEP),
        (ONE, replace(WELL, wanted=False), 160.0, Verdict.WAIT),
        (ONE, replace(UP, wanted=False, running=False, phase=Phase.FINISHED), 101.0, Verdict.KEEP),  # its job is done
        (ONE, replace(WELL, instance=4), 160.0, Verdict.WAIT),  # that one ran before the exchange
        (replace(ONE, stage=Stage.EXCHANGE), WELL, 160.0, Verdict.WAIT),
        (replace(ONE, deaths=1), replace(UP, running=False, phase=Phase.BACKOFF), 150.0, Verdict.WAIT),
        (replace(ONE, deaths=2), replace(UP, running=False, phase=Phase.BACKOFF), 150.0, Verdict.BACK),
        (replace(LADDER, deaths=2), replace(UP, running=False, phase=Phase.BACKOFF), 150.0, Verdict.WAIT),
        (ONE, replace(UP, phase=Phase.RECOVERING), 150.0, Verdict.BACK),  # struck out at its gate
        (ONE, replace(UP, phase=Phase.ESCALATED), 150.0, Verdict.BACK),
        (LADDER, replace(UP, phase=Phase.ESCALATED), 150.0, Verdict.BACK),
        (replace(LADDER, damage="base.db"), replace(UP, phase=Phase.ESCALATED), 150.0, Verdict.WAIT),
        (ONE, replace(UP, instance=4, phase=Phase.ESCALATED, alerted=True), 150.0, Verdict.BACK),
    ],
)
def test_a_restore_is_kept_or_taken_back(one: Restoration, ladder: Ladder, now: float, verdict: Verdict) -> None:
    assert judge(one, ladder, POLICY, now)[0] is verdict


def test_maintenance_takes_nothing_back() -> None:
    bad = replace(ONE, deaths=9)
    assert judge(bad, replace(UP, phase=Phase.ESCALATED), replace(POLICY, hands_off=True), 1.0)[0] is Verdict.WAIT


def row(seq: int, at: float, **more: Any) -> dict[str, Any]:
    return {"id": f"{seq:032x}", "seq": seq, "at": at, "cause": "timer", "pins": (), **more}


def chosen(rows: list[dict[str, Any]], fault_at: float = 1000.0) -> list[int]:
    return [one["seq"] for one in choices(rows, fault_at)]


def test_known_good_comes_first_and_then_what_is_older_than_the_fault() -> None:
    rows = [row(1, 100.0), row(2, 500.0, pins=("known-good",)), row(3, 990.0), row(4, 1001.0)]
    assert chosen(rows) == [2, 3, 1]


def test_what_cannot_be_read_was_deleted_or_replaced_by_a_restore_is_not_taken() -> None:
    rows = [
        row(1, 100.0, damaged="gone"),
        row(2, 200.0, deleted_until=5.0),
        row(3, 300.0, cause="restore"),
        row(4, 400.0, cause="restore", pins=("known-good",)),
    ]
    assert chosen(rows) == []


def test_few_are_tried_and_an_old_one_is_among_them() -> None:
    rows = [row(number, 60.0 * number) for number in range(1, 10_000)]
    found = chosen(rows, 60.0 * 10_000)
    assert len(found) == 5
    assert found[0] == 9_999
    assert found[-1] < 9_990


def test_order_is_that_of_numbers_where_the_clock_was_set() -> None:
    assert chosen([row(1, 900.0, pins=("known-good",)), row(2, 50.0, pins=("known-good",))]) == [2, 1]


def test_the_agent_is_told_the_snapshot_and_its_time() -> None:
    assert told(ONE) == f"{'ab' * 16} 2027-01-15T08:00:00Z"
