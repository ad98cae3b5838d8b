"""Which conditions hold a start up."""

from __future__ import annotations

import pytest

from holdfast.healing import depends
from holdfast.healing.model import Ladder, Phase
from holdfast.spec.model import Dependency

UP = Ladder(running=True, gate_passed=True)


def ladder(phase: Phase, *, running: bool = False, passed: bool = False, good: float | None = None) -> Ladder:
    return Ladder(phase=phase, running=running, gate_passed=passed, good_since_mono=good)


@pytest.mark.parametrize(
    ("other", "started", "healthy", "finished"),
    [
        (ladder(Phase.QUEUED), False, False, False),
        (ladder(Phase.STARTING, running=True), True, False, False),
        (ladder(Phase.HEALTHY, running=True, passed=True), True, True, False),
        (ladder(Phase.DEGRADED, running=True, passed=True), True, True, False),
        (ladder(Phase.UNHEALTHY, running=True, passed=True), True, False, False),
        (ladder(Phase.RECOVERING, running=True, passed=True, good=1.0), True, True, False),
        (ladder(Phase.RECOVERING, running=True, passed=True), True, False, False),
        (ladder(Phase.BACKOFF), False, False, False),
        (ladder(Phase.STOPPED), False, False, False),
        (ladder(Phase.FINISHED), True, True, True),
    ],
)
def test_conditions_hold_as_named(other: Ladder, started: bool, healthy: bool, finished: bool) -> None:
    said = tuple(depends.met(condition, other) for condition in ("started", "healthy", "finished"))
    assert said == (started, healthy, finished)


def test_the_reason_names_the_first_that_is_not_so() -> None:
    needs = (Dependency(agent="db", condition="healthy"), Dependency(agent="migrate", condition="finished"))
    ladders = {"db": ladder(Phase.HEALTHY, running=True, passed=True), "migrate": ladder(Phase.STARTING, running=True)}
    assert depends.waits_for(needs, ladders.get) == "waits for migrate to finish (migrate is starting)"


def test_a_dependency_that_left_the_fleet_holds_nobody_up() -> None:
    assert depends.waits_for((Dependency(agent="gone"),), lambda name: None) == ""
