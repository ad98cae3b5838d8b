"""When one number of the node is enough, and when everybody is looked at."""

from msgspec.structs import replace

from holdfast import limits
from holdfast.density import semaphore
from holdfast.density.model import MB, Phase, Reading, Seen, State, Step, Want
from holdfast.density.peek import again_mono, worth_looking
from tests.unit.density.fleet import reading, seen


def settled(*agents: Seen, **more: object) -> tuple[State, Reading]:
    """Everybody looked at often enough to be calm, the last time at 10.0."""
    read = reading(*agents, **more)  # type: ignore[arg-type]
    state = State()
    for at in (9.0, 9.5, 10.0):
        state, _ = semaphore.decide(state, read, at)
    return state, read


CALM = (seen("important", 100), seen("low", 1))
FULL = (seen("important", 100, 900), seen("low", 1, 720))  # less than a tenth is free, and more than nothing


def test_nothing_new_needs_no_look_within_the_quiet_tick() -> None:
    state, read = settled(*FULL)
    assert not worth_looking(state, read, read.available_bytes - 4 * MB, 10.1)
    assert not worth_looking(state, read, read.available_bytes, 10.0 + limits.TICK_CALM_S)
    assert worth_looking(state, read, read.available_bytes, 10.0 + limits.TICK_QUIET_S)


def test_where_much_is_free_looks_are_seldom_and_a_small_part_of_it_is_no_news() -> None:
    state, read = settled(*CALM)
    little = int(state.free_bytes * limits.TICK_ROOMY_SHARE)
    assert little > 20 * MB
    assert not worth_looking(state, read, read.available_bytes - little + MB, 10.0 + limits.TICK_QUIET_S)
    assert worth_looking(state, read, read.available_bytes - little - MB, 10.1)
    assert worth_looking(state, read, read.available_bytes, 10.0 + limits.TICK_ROOMY_S)


def test_who_starts_or_waits_to_come_back_is_looked_at_in_every_calm_tick() -> None:
    for other in (
        seen("new", 1, 10, phase=Phase.STARTING, start_bytes=20 * MB),
        seen("gone", 1, 0, phase=Phase.SHED, shed_mono=1.0, start_bytes=9000 * MB),
    ):
        state, read = settled(*CALM, other)
        assert worth_looking(state, read, read.available_bytes, 10.0 + limits.TICK_CALM_S)


def test_memory_that_somebody_took_is_worth_a_look() -> None:
    state, read = settled(*FULL)
    assert worth_looking(state, read, read.available_bytes - 8 * MB, 10.1)
    assert not worth_looking(state, read, read.available_bytes + 500 * MB, 10.1)


def test_where_no_kernel_holds_somebody_smaller_steps_count_and_longer_waits_do_not() -> None:
    for more in ({"ceilings": False}, {}):
        state, read = settled(*CALM, seen("loose", 1, holdable=False), **more)
        assert not worth_looking(state, read, read.available_bytes, 10.05)
        assert worth_looking(state, read, read.available_bytes - 4 * MB, 10.05)
        assert worth_looking(state, read, read.available_bytes, 10.11)


def test_where_no_kernel_holds_somebody_no_time_is_missed() -> None:
    state, read = settled(seen("top", 100, 1200), seen("low", 0, 590), ceilings=False)
    known = state.held["low"]
    for waits in (replace(known, step=Step.PAUSED, deadline_mono=10.03), replace(known, starved_mono=9.88)):
        waiting = replace(state, held={**state.held, "low": waits})
        assert not worth_looking(waiting, read, read.available_bytes, 10.02)
        assert worth_looking(waiting, read, read.available_bytes, 10.035)
        assert worth_looking(waiting, read, read.available_bytes + 4 * MB, 10.02), "room came"


def test_whatever_is_under_way_is_looked_at() -> None:
    state, read = settled(*CALM)
    grown = reading(CALM[0], seen("low", 1, 300))
    state, _ = semaphore.decide(state, grown, 10.1)
    assert worth_looking(state, grown, grown.available_bytes, 10.2)
    state, read = settled(seen("important", 100), seen("low", 1, 1900))
    assert worth_looking(state, read, read.available_bytes, 10.1), "the reserve is being eaten"
    wanted = Want(name="next", priority=50, need_bytes=4096 * MB, since_mono=9.0)
    state, read = settled(*CALM, want=wanted)
    assert worth_looking(state, read, read.available_bytes, 10.1)


def test_a_shed_agent_that_waits_for_room_costs_no_looks() -> None:
    state, read = settled(*CALM, seen("gone", 1, 0, phase=Phase.SHED, shed_mono=1.0, start_bytes=9000 * MB))
    assert not worth_looking(state, read, read.available_bytes, 10.1)


def test_the_number_is_read_as_often_as_the_last_look_found_needed() -> None:
    state, _ = settled(*CALM)
    assert again_mono(state, 20.0) == 20.0 + state.due_mono - 10.0
    state, _ = settled(seen("important", 100), seen("low", 1, 1500))
    assert again_mono(state, 20.0) >= 20.0 + limits.TICK_TIGHT_S
