"""Beats as tables: what counts, what is due, what silence means."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.health import beats
from holdfast.health.beats import Beats, Rules, deafened, due_mono, gap, hear, judge, read
from holdfast.health.model import Judgement
from holdfast.limits import BEAT_GATHERED_S

RULES = Rules(beat_s=60.0, busy_max_s=1800.0, start_period_s=30.0, stop_grace_s=10.0)
LATE = 120.0 + BEAT_GATHERED_S


class Heard:
    """One instance, spawned at 1000."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules = rules
        self.known = Beats(instance=1, since_mono=1000.0)
        self.before = False

    def say(self, at: float, *cycles: str, **fields: Any) -> Heard:
        told = {key: str(value) for key, value in fields.items()}
        self.known = hear(self.known, read(told, at, 0.0, cycles), self.rules)
        return self

    def beat(self, at: float, cycle: int, **more: Any) -> Heard:
        return self.say(at, WATCHDOG=1, X_CYCLE=cycle, **more)

    def at(self, now: float) -> Judgement:
        return judge(self.known, self.rules, now, beat_before=self.before)[0]

    def words(self, now: float) -> str:
        return judge(self.known, self.rules, now, beat_before=self.before)[1]


def test_nothing_is_due_before_the_first_beat() -> None:
    heard = Heard().say(1001.0, READY=1, STATUS="up")
    assert heard.at(9_999_999.0) is Judgement.UNKNOWN
    assert due_mono(heard.known, RULES, beat_before=False) is None


def test_an_agent_that_beat_in_a_former_instance_and_not_in_this_one_is_degraded_and_never_failing() -> None:
    heard = Heard()
    heard.before = True
    assert heard.at(1030.0 + LATE - 1) is Judgement.UNKNOWN
    assert heard.at(1030.0 + LATE) is Judgement.DEGRADED
    assert heard.at(9_999_999.0) is Judgement.DEGRADED


def test_two_missed_beats_are_a_failure_that_says_how_long_and_where_the_cycle_stands() -> None:
    heard = Heard().beat(1000.0, 41)
    assert heard.at(1000.0 + LATE - 0.1) is Judgement.OK
    assert heard.at(1000.0 + LATE) is Judgement.FAILING
    assert heard.words(1130.0) == "no beat that advanced for 130 s (due every 60 s; cycle 41)"


def test_beats_whose_cycle_stands_do_not_count_and_the_words_say_so() -> None:
    heard = Heard().beat(1000.0, 41)
    for at in range(1010, 1130, 10):
        heard.beat(float(at), 41)
    assert heard.at(1119.0) is Judgement.OK
    assert heard.at(1125.0) is Judgement.FAILING
    assert heard.words(1125.0) == "beats go on but its cycle stands at 41 for 125 s (due every 60 s)"
    assert heard.beat(1126.0, 42).at(1127.0) is Judgement.OK


def test_an_agent_that_knows_no_cycles_is_believed_its_plain_beats() -> None:
    heard = Heard()
    for at in range(1000, 3000, 60):
        assert heard.say(float(at), WATCHDOG=1).at(at + 59.0) is Judgement.OK
    assert heard.at(2999.0 + LATE) is Judgement.FAILING
    assert heard.words(3130.0).startswith("no beat for ")


def test_a_count_that_begins_anew_counts() -> None:
    heard = Heard().beat(1000.0, 900).beat(1100.0, 0)
    assert heard.known.counted_mono == 1100.0
    assert heard.beat(1200.0, 1).at(1300.0) is Judgement.OK


def test_two_stuck_loops_that_beat_in_turn_do_not_pass_for_one_that_works() -> None:
    heard = Heard().beat(1000.0, 900)
    for at in range(1010, 1200, 20):
        heard.beat(float(at), 5).beat(at + 10.0, 900)
    assert heard.at(1200.0) is Judgement.FAILING


def test_a_cycle_that_advanced_between_two_others_is_not_lost_by_gathering() -> None:
    heard = Heard().beat(1000.0, 5).say(1100.0, "6", "5", WATCHDOG=1, X_CYCLE=5)
    assert heard.known.counted_mono == 1100.0


def test_a_declared_busy_time_counts_from_its_receipt_and_then_two_beats_are_due() -> None:
    heard = Heard().beat(1000.0, 1, X_BUSY_USEC=600_000_000)
    assert heard.at(1600.0 + LATE - 1) is Judgement.OK
    assert heard.at(1600.0 + LATE) is Judgement.FAILING
    assert Heard().beat(1000.0, 1, X_BUSY_USEC=600_000_000).say(1001.0, X_BUSY_USEC=0).at(1300.0) is Judgement.FAILING


def test_being_busy_is_capped_also_for_a_thread_that_declares_it_again_and_again() -> None:
    heard = Heard().beat(1000.0, 1)
    for at in range(1010, 4000, 50):
        heard.beat(float(at), 1, X_BUSY_USEC=10**14)
    assert heard.at(1010.0 + 1800.0 + LATE - 1) is Judgement.OK
    assert heard.at(1010.0 + 1800.0 + LATE) is Judgement.FAILING


def test_a_loop_that_works_may_be_busy_each_time_anew() -> None:
    heard = Heard()
    for number in range(20):
        at = 1000.0 + number * 1700
        assert heard.beat(at, number, X_BUSY_USEC=1_700_000_000).at(at + 1699) is Judgement.OK


def test_an_idle_agent_has_to_beat_but_not_to_advance() -> None:
    heard = Heard().beat(1000.0, 7).say(1001.0, X_IDLE=1)
    for at in range(1060, 5000, 60):
        assert heard.beat(float(at), 7).at(at + 1.0) is Judgement.OK
    assert heard.at(5000.0 + LATE) is Judgement.FAILING


def test_an_idle_agent_that_works_again_and_sticks_is_caught() -> None:
    heard = Heard().beat(1000.0, 7).say(1001.0, X_IDLE=1).beat(1010.0, 8).beat(1020.0, 9)
    for at in range(1030, 1300, 10):
        heard.beat(float(at), 9)
    assert heard.at(1020.0 + LATE) is Judgement.FAILING


def test_an_agent_that_calls_itself_broken_fails_at_once_and_for_good() -> None:
    heard = Heard().beat(1000.0, 1).say(1001.0, WATCHDOG="trigger").beat(1002.0, 2)
    assert heard.at(1002.0) is Judgement.FAILING
    assert "WATCHDOG=trigger" in heard.words(1002.0)


def test_an_agent_that_stops_by_itself_owes_no_beats_but_not_for_ever() -> None:
    heard = Heard().beat(1000.0, 1).say(1001.0, STOPPING=1)
    assert heard.at(1001.0 + LATE - 1) is Judgement.UNKNOWN
    assert heard.at(1001.0 + LATE) is Judgement.FAILING


def test_after_a_gap_of_ours_a_whole_new_deadline_runs() -> None:
    heard = Heard().beat(1000.0, 1)
    heard.known = gap(heard.known, 5000.0)
    assert heard.at(5000.0 + LATE - 1) is Judgement.UNKNOWN
    assert heard.at(5000.0 + LATE) is Judgement.FAILING
    assert heard.beat(5001.0, 2).at(5002.0) is Judgement.OK


def test_when_the_socket_was_lost_nothing_is_due_until_the_next_beat() -> None:
    heard = Heard().beat(1000.0, 1)
    heard.before = True
    heard.known = deafened(heard.known, 5000.0)
    assert heard.at(5000.0) is Judgement.UNKNOWN
    assert heard.at(9_999_999.0) is Judgement.DEGRADED
    assert heard.beat(10_000_000.0, 2).at(10_000_000.0 + LATE) is Judgement.FAILING


def test_degraded_is_said_and_taken_back() -> None:
    heard = Heard().beat(1000.0, 1, X_DEGRADED="model down")
    assert heard.at(1001.0) is Judgement.DEGRADED
    assert heard.words(1001.0) == 'it says "model down"'
    assert heard.say(1002.0, X_DEGRADED="").at(1003.0) is Judgement.OK


def test_without_a_beat_in_the_spec_only_what_the_agent_says_of_itself_counts() -> None:
    rules = RULES._replace(beat_s=None)
    heard = Heard(rules).beat(1000.0, 1)
    assert (heard.at(9_999_999.0), heard.words(9_999_999.0)) == (Judgement.UNKNOWN, "")
    assert heard.say(1001.0, X_DEGRADED="slow").at(1002.0) is Judgement.DEGRADED
    assert heard.say(1002.0, WATCHDOG="trigger").at(1003.0) is Judgement.FAILING


BAD = [
    ("X_CYCLE", "-1"), ("X_CYCLE", "1.5"), ("X_CYCLE", ""), ("X_CYCLE", "9" * 40), ("X_CYCLE", "١"),
    ("X_BUSY_USEC", "soon"), ("X_BUSY_USEC", "9" * 19), ("X_IDLE", "yes"), ("X_QUALITY", "nan"), ("X_QUALITY", "1.1"),
    ("X_QUALITY", "-0"[:1]), ("X_TOKENS", "1e9"), ("WATCHDOG", "2"), ("READY", "true"), ("STOPPING", ""),
    ("EXTEND_TIMEOUT_USEC", "-5"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD)
def test_bad_values_are_ignored_and_counted(key: str, value: str) -> None:
    told = read({key: value}, 1.0)
    assert told == beats.Told(mono=1.0, busy_mono=1.0, bad=1)


def test_numbers_are_kept_as_they_were_said_last() -> None:
    known = Heard().say(1000.0, X_TOKENS=5, X_QUALITY="0.25", STATUS="a").say(1001.0, X_TOKENS=9, NOBODY="x").known
    assert (known.tokens, known.quality, known.status, known.bad) == (9, 0.25, "a", 0)


def test_counts_that_begin_anew_one_after_the_other_all_count() -> None:
    heard = Heard().beat(1000.0, 900)
    for number, cycle in enumerate((1, 2, 1, 2, 1, 2, 3, 1, 2, 3, 4)):
        at = 1070.0 + number * 70
        assert heard.beat(at, cycle).known.counted_mono == at, cycle


def test_steps_that_are_counted_anew_with_each_task_count() -> None:
    heard = Heard()
    for number in range(60):
        at = 1000.0 + number * 100
        assert heard.beat(at, number % 3 + 1).known.counted_mono == at
