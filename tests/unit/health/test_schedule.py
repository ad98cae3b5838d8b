"""When agents are asked."""

import pytest

from holdfast import limits
from holdfast.health.schedule import Rota, next_due, phase_s

NAMES = [f"agent-{number}" for number in range(1000)]


def test_agents_are_spread_evenly_over_their_interval() -> None:
    tenths = [0] * 10
    for name in NAMES:
        tenths[int(phase_s(name, 2.0) / 0.2)] += 1
    assert min(tenths) > 60
    assert max(tenths) < 140


@pytest.mark.parametrize("interval_s", [0.5, 2.0, 7.3, 60.0])
def test_the_next_turn_is_within_one_interval_and_a_slot(interval_s: float) -> None:
    for name in NAMES[:50]:
        now = 12_345.678
        for _ in range(20):
            due = next_due(name, interval_s, now)
            assert now < due <= now + interval_s + limits.PROBE_SLOT_S * 1.5
            now = due


def test_the_turns_keep_the_interval_over_a_long_time() -> None:
    now, turns = 1000.0, 0
    while now < 2000.0:
        now = next_due("steady", 2.0, now)
        turns += 1
    assert 499 <= turns <= 501


def test_a_thousand_agents_make_few_wakeups() -> None:
    assert len({next_due(name, 2.0, 500.0) for name in NAMES}) <= 2.0 / limits.PROBE_SLOT_S + 1


def test_a_late_caller_gets_each_name_once() -> None:
    rota = Rota()
    for name in NAMES:
        rota.set(name, 2.0, 0.0)
    assert sorted(rota.due(100.0)) == sorted(NAMES)
    assert rota.due(100.0) == []
    following = rota.next()
    assert following is not None
    assert following > 100.0


def test_a_dropped_agent_is_not_asked_again() -> None:
    rota = Rota()
    rota.set("a", 2.0, 0.0)
    rota.drop("a")
    assert rota.next() is None
    assert rota.due(10.0) == []


def test_a_changed_interval_replaces_the_old_turn() -> None:
    rota = Rota()
    rota.set("a", 60.0, 0.0)
    rota.set("a", 0.5, 0.0)
    rota.set("a", 0.5, 0.0)
    assert rota.due(1.0) == ["a"]
    assert rota.due(1.1) == []
