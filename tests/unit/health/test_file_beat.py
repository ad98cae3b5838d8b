"""Heartbeat files under every kind of clock, gap and absence."""

from __future__ import annotations

from holdfast.health import file_beat
from holdfast.health.file_beat import FileState, Look
from holdfast.health.hearing import Hearing, hear
from holdfast.health.model import Judgement
from holdfast.spec.model import FileBeat

RULE = FileBeat(path="/run/a/beat", max_age_s=60.0)
STEP_S = file_beat.interval_s(RULE)
BORN_AT = 1_000_000.0


class Watch:
    """One instance watched; `at` is the wall clock, `mono` ours, `written_at` the file's time (None: absent)."""

    def __init__(self) -> None:
        self.state = FileState()
        self.mono, self.at = 500.0, BORN_AT
        self.written_at: float | None = None
        self.blocked, self.able = "", True
        self.size = 1

    def look(self, after_s: float = STEP_S) -> Judgement:
        self.mono += after_s
        self.at += after_s
        stamp = None if self.written_at is None else (int(self.written_at * 1e9), self.size, 7)
        look = Look(
            stamp=None if self.blocked else stamp, blocked=self.blocked, age_s=self.mono - 500.0, at=self.at,
            spawned_at=BORN_AT, able=self.able,
        )  # fmt: skip
        self.state, judgement, self.detail = file_beat.judge(RULE, 30.0, self.state, look, self.mono)
        return judgement

    def beat(self) -> Judgement:
        self.written_at = self.at + STEP_S
        return self.look()

    def looks(self, count: int) -> set[Judgement]:
        return {self.look() for _ in range(count)}


def test_a_file_touched_in_time_is_well() -> None:
    watch = Watch()
    assert [watch.beat() for _ in range(50)] == [Judgement.OK] * 50


def test_a_file_touched_and_then_no_more_fails_once_it_is_too_old() -> None:
    watch = Watch()
    watch.beat()
    assert watch.looks(4) == {Judgement.OK}
    assert watch.look() is Judgement.FAILING
    assert "not touched for 75 s" in watch.detail
    assert watch.beat() is Judgement.OK


def test_a_missing_file_is_unknown_while_starting_then_degraded_and_never_failing() -> None:
    watch = Watch()
    assert watch.looks(4) == {Judgement.UNKNOWN}
    assert watch.looks(200) == {Judgement.DEGRADED}


def test_a_file_of_an_earlier_instance_kills_nobody() -> None:
    watch = Watch()
    watch.written_at = BORN_AT - 5000
    assert Judgement.FAILING not in watch.looks(300)
    assert watch.beat() is Judgement.OK


def test_an_old_file_moved_into_place_is_no_beat() -> None:
    watch = Watch()
    watch.look()
    watch.written_at = BORN_AT - 5000
    assert Judgement.OK not in watch.looks(20)
    assert Judgement.FAILING not in watch.looks(300)


def test_a_file_that_vanishes_fails_when_it_would_be_too_old() -> None:
    watch = Watch()
    watch.beat()
    watch.written_at = None
    assert watch.looks(4) == {Judgement.OK}
    assert watch.look() is Judgement.FAILING
    assert "is gone" in watch.detail


def test_a_rewrite_that_keeps_the_time_but_changes_the_size_is_a_beat() -> None:
    watch = Watch()
    watch.beat()
    for _ in range(20):
        watch.size += 1
        assert watch.look() is Judgement.OK


def test_jumps_of_the_wall_clock_neither_kill_nor_keep_alive() -> None:
    for jump_s in (-86_400.0, 86_400.0, 600.0, -600.0):
        watch = Watch()
        watch.beat()
        watch.at += jump_s
        assert [watch.beat() for _ in range(20)] == [Judgement.OK] * 20
        watch.at -= jump_s
        assert watch.looks(4) == {Judgement.OK}
        assert watch.look() is Judgement.FAILING


def test_a_time_in_the_future_does_not_keep_a_hung_agent_alive() -> None:
    watch = Watch()
    watch.look()
    watch.written_at = watch.at + 1e6
    watch.look()
    watch.looks(3)
    watch.written_at += 1.0  # a touch
    assert watch.look() is Judgement.OK
    watch.looks(4)
    assert watch.look() is Judgement.FAILING


def test_after_a_gap_of_ours_it_is_unknown_until_a_full_age_was_watched() -> None:
    watch = Watch()
    watch.beat()
    assert watch.look(3600.0) is Judgement.UNKNOWN
    assert watch.looks(4) == {Judgement.UNKNOWN}
    assert watch.look() is Judgement.FAILING
    watch = Watch()
    watch.beat()
    watch.look(3600.0)
    assert watch.beat() is Judgement.OK


def test_a_keeper_that_comes_to_an_old_file_of_this_life_watches_it_for_a_full_age() -> None:
    watch = Watch()
    watch.at += 10_000
    watch.mono += 10_000
    watch.written_at = BORN_AT + 100
    assert watch.looks(5) == {Judgement.UNKNOWN}
    assert watch.look() is Judgement.FAILING


def test_time_in_which_the_machine_is_starved_does_not_count() -> None:
    watch = Watch()
    watch.beat()
    watch.able = False
    assert watch.looks(100) == {Judgement.OK}
    watch.able = True
    assert watch.looks(4) == {Judgement.OK}
    watch.able = False
    watch.looks(2)
    watch.able = True
    assert watch.look() is Judgement.FAILING
    watch.able = False
    assert watch.look() is Judgement.UNKNOWN


def test_a_file_that_may_not_be_looked_at_is_degraded_never_failing() -> None:
    watch = Watch()
    watch.beat()
    watch.blocked = "Permission denied"
    assert Judgement.FAILING not in watch.looks(300)
    assert "Permission denied" in watch.detail


def test_looks_are_cheap_and_bounded() -> None:
    ages = {0.5: 1.0, 2.0: 1.0, 20.0: 5.0, 60.0: 15.0, 86_400.0: 15.0}
    for age_s, every_s in ages.items():
        assert file_beat.interval_s(FileBeat(path="/x", max_age_s=age_s)) == every_s


def test_a_touch_at_the_very_birth_may_be_of_the_instance_before_and_leaves_time_for_a_start() -> None:
    watch = Watch()
    watch.written_at = BORN_AT - 0.01
    assert Judgement.FAILING not in watch.looks(2 * file_beat.LOOKS_PER_AGE)
    assert Judgement.FAILING in watch.looks(2)


def test_who_said_that_it_is_busy_has_a_full_age_from_its_end() -> None:
    hearing = Hearing(silent_s=50.0, looked_mono=100.0, heard=True, ever=True)
    busy = hear(hearing, 110.0, sign=False, able=True, gap_s=45.0, excused=True)
    assert (busy.silent_s, busy.heard, busy.ever) == (0.0, False, True)
    assert hear(busy, 120.0, sign=False, able=True, gap_s=45.0).silent_s == 10.0
