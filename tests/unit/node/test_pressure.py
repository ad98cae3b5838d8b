"""When a host counts as starved."""

import pytest

from holdfast.node.pressure import Pressure, Reading, judge, parse_total_us, read


def run(*steps: tuple[float, float, float, float], start: Pressure | None = None) -> list[bool]:
    """One second per step: shares of stall for cpu, memory, io, and runnable tasks per core."""
    state = start or Pressure()
    total = [0.0, 0.0, 0.0]
    state = judge(state, Reading(0.0, 0, 0, 0, 0.0))
    found = []
    for second, (cpu, memory, io, queue) in enumerate(steps, 1):
        total = [before + share * 1e6 for before, share in zip(total, (cpu, memory, io), strict=True)]
        state = judge(state, Reading(float(second), int(total[0]), int(total[1]), int(total[2]), queue))
        found.append(state.starved)
    return found


QUIET = (0.0, 0.0, 0.0, 0.1)
CROWDED = (1.0, 0.0, 0.0, 8.0)


def test_a_quiet_host_is_not_starved() -> None:
    assert not any(run(*[QUIET] * 10))


def test_a_few_busy_tasks_do_not_excuse_a_hung_agent() -> None:
    assert not any(run(*[(1.0, 0.0, 0.0, 2.0)] * 20))


def test_a_long_queue_of_tasks_starves_the_host_at_once() -> None:
    assert run(*[CROWDED] * 3) == [True, True, True]


@pytest.mark.parametrize("step", [(0.0, 0.3, 0.0, 0.1), (0.0, 0.0, 0.6, 0.1)])
def test_memory_and_io_alone_starve_a_host(step: tuple[float, float, float, float]) -> None:
    assert run(QUIET, step) == [False, True]


def test_it_ends_only_after_calm_for_a_while() -> None:
    found = run(CROWDED, CROWDED, *[QUIET] * 12)
    assert found[:5] == [True] * 5
    assert found[-1] is False
    assert found == sorted(found, reverse=True)


def test_a_level_in_between_neither_starts_nor_ends_it() -> None:
    between = (0.0, 0.1, 0.0, 0.1)
    assert not any(run(*[between] * 10))
    assert all(run((0.0, 0.5, 0.0, 0.1), *[between] * 10))


def test_without_psi_the_queue_alone_decides() -> None:
    state = judge(Pressure(), Reading(0.0, None, None, None, 0.0))
    for second in range(1, 6):
        state = judge(state, Reading(float(second), None, None, None, 10.0))
    assert state.starved
    assert "cpu" in state.why


def test_readings_in_quick_succession_change_nothing() -> None:
    state = judge(Pressure(), Reading(0.0, 0, 0, 0, 0.0))
    assert judge(state, Reading(0.1, 100_000, 0, 0, 50.0)) is state


def test_the_total_of_the_right_line_is_read() -> None:
    text = "some avg10=1.53 avg60=0.87 avg300=0.73 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=45\n"
    assert parse_total_us(text, "some") == 123
    assert parse_total_us(text, "full") == 45
    assert parse_total_us("", "some") is None


def test_this_machine_can_be_read() -> None:
    assert read(1.0).runnable_per_core >= 0
