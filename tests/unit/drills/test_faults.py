"""Bounds of a drill on a user's agent: from what the agent declares of itself."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.drills import score, state_ways
from holdfast.drills.faults import FAULTS, for_agent

OPENCLAW = {"http": {"url": "u"}, "retries": 3, "interval_s": 10.0, "timeout_s": 0.5, "beat_s": None, "file": None}
QUICK = OPENCLAW | {"interval_s": 2.0}
FILE_ONLY = OPENCLAW | {"http": None, "file": {"max_age_s": 180.0}}
BEATS = OPENCLAW | {"http": None, "beat_s": 60.0}


def _spec(health: dict[str, Any]) -> dict[str, Any]:
    return {"health": health, "stop": {"hung_grace_s": 5.0}, "restart": {"backoff_s": [0.0, 10.0, 60.0]}}


@pytest.mark.parametrize(
    ("health", "beats", "wait_s", "caught_s", "restored_s"),
    [
        (OPENCLAW, False, 0.0, 32.0, 40.0),
        (QUICK, False, 0.0, 8.0, 16.0),
        (QUICK, False, 10.0, 8.0, 19.5),
        (FILE_ONLY, False, 0.0, 196.5, 204.5),
        (BEATS, True, 0.0, 121.5, 129.5),
    ],
)
def test_a_hang_is_caught_as_fast_as_the_agent_is_asked(
    health: dict[str, Any], beats: bool, wait_s: float, caught_s: float, restored_s: float
) -> None:
    fault = for_agent(FAULTS["hang"], _spec(health), wait_s, beats=beats)
    assert fault is not None
    assert (fault.caught_s, fault.restored_s) == (caught_s, restored_s)
    assert ("waits 10 s" in fault.promise) is bool(wait_s)


def test_a_hang_that_nothing_would_show_is_not_tried() -> None:
    assert for_agent(FAULTS["hang"], _spec(BEATS), 0.0, beats=False) is None


def test_a_killed_agent_is_back_after_the_wait_its_earlier_failures_cost_it() -> None:
    fault = for_agent(FAULTS["kill"], _spec(QUICK), 100.0, beats=False)
    assert fault is not None
    assert (fault.caught_s, fault.restored_s) == (0.5, 101.0)


def test_a_start_is_part_of_being_healed_and_not_of_being_left_alone() -> None:
    left_alone = score.judge(FAULTS["kill-keeper"], "a", 20.0, 0.4, 0.4, "", "")
    healed = score.judge(FAULTS["kill"], "a", 20.0, 0.1, 20.5, "", "")
    assert (left_alone.restored_within_s, healed.restored_within_s) == (1.5, 21.0)
    assert healed.verdict == "passed"


@pytest.mark.parametrize(("name", "restored_s"), [("corrupt-state", 25.0), ("delete-state", 90.0)])
def test_a_restore_by_the_ladder_waits_for_the_restarts_before_it(name: str, restored_s: float) -> None:
    fault = for_agent(FAULTS[name], _spec(QUICK), 0.0, beats=False)
    assert fault is not None
    assert fault.restored_s == restored_s


def test_what_deletes_more_than_a_snapshot_holds_is_never_tried_on_a_real_agent() -> None:
    assert not any(FAULTS[name].real for name in ("delete-agent", "lose-machine", "disk-full"))
    assert [name for name, fault in FAULTS.items() if fault.real and fault.state] == ["corrupt-state", "delete-state"]


KEPT = {"spec": {"state": {"paths": ["/x"]}}}


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (None, "declares no"),
        ({"spec": {"state": {"paths": []}}}, "declares no"),
        (KEPT | {"outlook": {"budgets": []}}, "no snapshot"),
        (KEPT | {"outlook": {"budgets": [{"name": "restore", "left": 0, "back_in_s": 71.2}]}}, "again in 71 s"),
        (KEPT | {"outlook": {"budgets": [{"name": "restore", "left": 1, "back_in_s": None}]}}, ""),
    ],
)
def test_the_state_of_a_real_agent_is_hurt_only_where_it_can_be_restored(known: Any, why: str) -> None:
    assert (why in state_ways.unfit(known)) if why else not state_ways.unfit(known)
