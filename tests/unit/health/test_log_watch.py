"""Silence and patterns in what an agent prints."""

from __future__ import annotations

from holdfast.health import log_watch
from holdfast.health.log_watch import Heard, LogState
from holdfast.health.model import Judgement
from holdfast.spec.model import LogPattern, LogWatch

SILENCE = LogWatch(silence_s=60.0)
STEP_S = log_watch.interval_s(SILENCE)
WARN = LogPattern(pattern="rate limit", then="degraded", count=3, within_s=30.0)
DEAD = LogPattern(pattern="malformed", then="failing")
PATTERNS = LogWatch(patterns=(WARN, DEAD))


class Watch:
    def __init__(self, rule: LogWatch) -> None:
        self.rule, self.state, self.mono, self.able = rule, LogState(), 100.0, True
        self.detail = ""

    def look(
        self, *, lines: bool = False, hits: tuple[int, ...] = (), after_s: float = STEP_S, quote: str = ""
    ) -> Judgement:
        self.mono += after_s
        heard = Heard(lines=lines or any(hits), hits=hits, quotes=(quote,) * len(hits), able=self.able)
        self.state, judgement, self.detail = log_watch.judge(self.rule, 30.0, self.state, heard, self.mono)
        return judgement

    def quiet(self, count: int, after_s: float = STEP_S) -> list[Judgement]:
        return [self.look(after_s=after_s) for _ in range(count)]


def test_an_agent_that_prints_is_well_and_one_that_stops_fails() -> None:
    watch = Watch(SILENCE)
    assert {watch.look(lines=True) for _ in range(20)} == {Judgement.OK}
    assert set(watch.quiet(4)) == {Judgement.OK}
    assert watch.look() is Judgement.FAILING
    assert watch.detail == "no line for 75 s (at most 60 s)"


def test_silence_counts_from_the_first_line_on() -> None:
    watch = Watch(SILENCE)
    assert Judgement.FAILING not in watch.quiet(200)
    assert "has not printed a line since it is watched" in watch.detail


def test_after_a_gap_of_ours_silence_is_unknown_until_watched_for_its_full_length() -> None:
    watch = Watch(SILENCE)
    watch.look(lines=True)
    assert watch.look(after_s=5000.0) is Judgement.UNKNOWN
    assert set(watch.quiet(4)) == {Judgement.UNKNOWN}
    assert watch.look() is Judgement.FAILING


def test_silence_of_a_starved_machine_does_not_count() -> None:
    watch = Watch(SILENCE)
    watch.look(lines=True)
    watch.able = False
    assert Judgement.FAILING not in watch.quiet(500)


def test_a_pattern_needs_its_count_within_its_time() -> None:
    watch = Watch(PATTERNS)
    step = 10.0
    assert watch.look(hits=(1, 0), after_s=step) is Judgement.OK
    assert watch.look(hits=(1, 0), after_s=step) is Judgement.OK
    assert watch.look(hits=(1, 0), after_s=step, quote="429 rate limit") is Judgement.DEGRADED
    assert "3 times in 30 s: 429 rate limit" in watch.detail
    assert watch.look(hits=(0, 0), after_s=step) is Judgement.OK
    slow = Watch(PATTERNS)
    assert {slow.look(hits=(1, 0), after_s=16.0) for _ in range(20)} == {Judgement.OK}


def test_a_failing_pattern_fails_at_once_and_says_which_line() -> None:
    watch = Watch(PATTERNS)
    assert watch.look(hits=(5, 1), quote="database disk image is malformed") is Judgement.FAILING
    assert watch.detail == "/malformed/ printed: database disk image is malformed"


def test_patterns_alone_say_nothing_about_silence() -> None:
    watch = Watch(PATTERNS)
    assert set(watch.quiet(500)) == {Judgement.OK}


def test_a_disabled_pattern_and_unread_lines_are_shown() -> None:
    heard = Heard(disabled=("/a+b/ takes too long and is not looked for",), behind="5 MB of its log were not searched")
    _, judgement, detail = log_watch.judge(PATTERNS, 30.0, LogState(), heard, 1.0)
    assert judgement is Judgement.DEGRADED
    assert "takes too long" in detail
    assert "5 MB" in detail


def test_a_flood_of_hits_is_held_bounded() -> None:
    state = LogState()
    for turn in range(5):
        state, judgement, _ = log_watch.judge(
            PATTERNS, 30.0, state, Heard(hits=(10**6, 0), quotes=("", "")), float(turn)
        )
    assert judgement is Judgement.DEGRADED
    assert len(state.hits[0]) == log_watch.HITS_KEPT
