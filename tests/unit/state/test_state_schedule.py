"""When whose state is kept, as tables."""

from __future__ import annotations

from collections import Counter

import pytest

from holdfast import limits
from holdfast.state.keeping import schedule
from holdfast.state.keeping.schedule import Choice, Course, Sight

UP = Sight("one", 60.0, True)
DOWN = Sight("one", 60.0, False)


def test_a_hundred_agents_spread_over_the_minute_and_keep_their_moments() -> None:
    dues = {f"agent-{number}": schedule.slot(f"agent-{number}", 60.0, 1000.0) for number in range(100)}
    assert max(Counter(int(due) for due in dues.values()).values()) <= 8
    assert all(1000.0 < due <= 1060.0 for due in dues.values())
    assert all(schedule.slot(name, 60.0, due) == pytest.approx(due + 60.0) for name, due in dues.items())


def test_the_next_moment_is_looked_for_when_one_has_ended_so_none_overlaps() -> None:
    course = schedule.followed(Course(), UP, 1000.0)
    assert course.due_mono is not None
    late = course.due_mono + 200.0
    after = schedule.ended(course, UP, late, good=True, was_running=True)
    assert after.due_mono is not None
    assert late < after.due_mono <= late + 60.0


def test_one_that_went_down_is_kept_once_more_and_then_left_alone() -> None:
    course = schedule.followed(schedule.followed(Course(), UP, 1000.0), DOWN, 1010.0)
    assert course.due_mono == 1010.0 + limits.SNAPSHOT_AFTER_END_S
    assert schedule.followed(course, DOWN, 1010.5) == course
    began_up = schedule.ended(course, DOWN, 1012.0, good=True, was_running=True)
    assert began_up.due_mono is not None
    done = schedule.ended(course, DOWN, 1012.0, good=True, was_running=False)
    assert done.due_mono is None
    assert schedule.followed(done, DOWN, 9999.0).due_mono is None
    assert schedule.followed(done, UP, 9999.0).due_mono is not None


def test_failures_are_tried_again_with_growing_pauses_until_one_succeeds() -> None:
    course, now, pauses = schedule.followed(Course(), UP, 1000.0), 1000.0, []
    for _ in range(12):
        course = schedule.ended(course, UP, now, good=False, was_running=True)
        assert course.due_mono is not None
        pauses.append(course.due_mono - now)
        assert schedule.followed(course, UP, now).due_mono == course.due_mono  # no way around it
    assert pauses[:3] == [limits.SNAPSHOT_RETRY_FIRST_S * factor for factor in (1, 2, 4)]
    assert pauses[-1] == limits.SNAPSHOT_RETRY_MAX_S
    assert schedule.ended(course, UP, now, good=True, was_running=True).failures == 0


def test_without_every_nothing_is_made_by_the_clock() -> None:
    asked = Sight("one", None, True)
    assert schedule.followed(Course(due_mono=5.0, running=True), asked, 1.0).due_mono is None
    assert schedule.ended(Course(), asked, 1.0, good=False, was_running=True).due_mono is None


@pytest.mark.parametrize(
    ("due", "pause", "choice"),
    [
        (None, "", Choice.WAIT),
        (10.1, "", Choice.WAIT),
        (10.0, "", Choice.TAKE),
        (9.0, "memory is short", Choice.PAUSE),
        (11.0, "memory is short", Choice.WAIT),
    ],
)
def test_what_to_do_now(due: float | None, pause: str, choice: Choice) -> None:
    assert schedule.choose(Course(due_mono=due), pause, 10.0) is choice


@pytest.mark.parametrize(
    ("stalled", "full", "words"),
    [
        ((), False, ""),
        (("cpu",), False, ""),
        (("cpu", "memory"), False, "memory is short"),
        (("io", "memory"), False, "memory is short and the disks are overloaded"),
        (("io",), True, "the disk of /h is full"),
    ],
)
def test_what_speaks_against_snapshots_now(stalled: tuple[str, ...], full: bool, words: str) -> None:
    assert schedule.pause(stalled, disk_full=full, where="/h") == words


@pytest.mark.parametrize(
    ("seen", "good_since", "until", "found"),
    [
        ([], 10.0, 70.0, ""),
        ([(5.0, "a"), (20.0, "b"), (60.0, "c"), (80.0, "d")], 10.0, 70.0, "c"),
        ([(5.0, "a"), (80.0, "d")], 10.0, 70.0, ""),  # made before it was well, or too young
        ([(5.0, "a"), (65.0, "a")], 10.0, 70.0, "a"),  # unchanged while it is well
    ],
)
def test_which_snapshot_has_proven_itself(
    seen: list[tuple[float, str]], good_since: float, until: float, found: str
) -> None:
    assert schedule.proven(seen, good_since, until) == found
