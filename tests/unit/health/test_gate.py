"""The start gate under load."""

from holdfast.health import gate
from holdfast.spec.model import Health, HttpProbe

LIVE = HttpProbe(url="http://127.0.0.1:1/live")
READY = HttpProbe(url="http://127.0.0.1:1/ready")


def run(health: Health, cpu_per_s: float, until: float, starved: bool = False) -> float:
    """Seconds after the start at which the deadline is reached, looking every half second."""
    state, now = gate.opened(health, 1, 100.0), 100.0
    while now < 100.0 + until:
        now += 0.5
        state = gate.look(state, health, (now - 100.0) * cpu_per_s, now, starved)
        if now >= state.deadline_mono:
            return now - 100.0
    return until


def test_until_it_passed_the_gate_is_asked_and_then_the_probe() -> None:
    health = Health(http=LIVE, start_gate=READY)
    assert gate.question(health, passed=False) == READY
    assert gate.question(health, passed=True) == LIVE
    assert gate.question(Health(http=LIVE), passed=False) == LIVE
    assert not gate.has_gate(Health())


def test_a_starting_agent_is_asked_more_often() -> None:
    health = Health(http=LIVE, interval_s=2.0)
    assert gate.interval_s(health, passed=False) < gate.interval_s(health, passed=True) == 2.0


def test_a_start_that_does_nothing_has_its_period_and_no_more() -> None:
    assert run(Health(start_period_s=30.0), cpu_per_s=0.0, until=400.0) == 30.0


def test_a_start_slowed_by_load_gets_the_cpu_it_may_cost() -> None:
    reached = run(Health(start_period_s=30.0, start_cpu_s=20.0), cpu_per_s=0.2, until=400.0)
    assert 98.0 <= reached <= 106.0


def test_a_start_in_a_busy_loop_ends_after_the_cpu_it_may_cost() -> None:
    assert run(Health(start_period_s=30.0, start_cpu_s=20.0), cpu_per_s=1.0, until=400.0) == 30.0


def test_a_starved_host_prolongs_but_not_for_ever() -> None:
    assert run(Health(start_period_s=30.0), cpu_per_s=0.0, until=1000.0, starved=True) == 300.0


def test_looks_in_quick_succession_change_nothing() -> None:
    health = Health()
    state = gate.opened(health, 1, 100.0)
    assert gate.look(state, health, 5.0, 100.2, True) is state
