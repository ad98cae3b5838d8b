"""Pushes in time, late, failing, and runs that do not end."""

from __future__ import annotations

from typing import Literal

from holdfast.health import push
from holdfast.health.model import Judgement
from holdfast.health.push import Ping, PushState
from holdfast.spec.model import PushBeat

RULE = PushBeat(every_s=60.0, grace_s=30.0)
STEP_S = push.interval_s(RULE)


class Watch:
    def __init__(self) -> None:
        self.state, self.mono, self.able, self.detail = PushState(), 100.0, True, ""

    def look(self, ping: Ping | None = None, after_s: float = STEP_S) -> Judgement:
        self.mono += after_s
        self.state, judgement, self.detail = push.judge(RULE, self.state, ping, self.mono, able=self.able)
        return judgement

    def push(self, kind: Literal["success", "start", "fail", "log"], detail: str = "") -> Judgement:
        return self.look(Ping(kind=kind, detail=detail), after_s=1.0)

    def until(self, judgement: Judgement, most: int = 200) -> int:
        return next(number for number in range(most) if self.look() is judgement)


def test_successes_in_time_are_well_and_a_late_one_fails() -> None:
    watch = Watch()
    assert {watch.push("success") for _ in range(10)} == {Judgement.OK}
    well = watch.until(Judgement.FAILING)  # looks before it
    assert well * STEP_S <= RULE.every_s + RULE.grace_s < (well + 1) * STEP_S
    assert "due every 60 s" in watch.detail
    assert watch.push("success") is Judgement.OK


def test_nothing_is_enforced_before_the_first_success() -> None:
    watch = Watch()
    assert {watch.look() for _ in range(300)} == {Judgement.UNKNOWN}
    watch.push("log")
    assert {watch.look() for _ in range(300)} == {Judgement.UNKNOWN}


def test_a_reported_failure_stands_until_the_next_success() -> None:
    watch = Watch()
    watch.push("success")
    assert watch.push("fail", "exit 3: out of memory") is Judgement.FAILING
    assert watch.detail == "exit 3: out of memory"
    assert watch.push("log") is Judgement.FAILING
    assert watch.push("start") is Judgement.FAILING
    assert watch.push("success") is Judgement.OK


def test_a_run_that_does_not_end_is_degraded_and_then_failing() -> None:
    watch = Watch()
    watch.push("success")
    watch.push("start")
    assert [watch.look(), watch.look()] == [Judgement.OK, Judgement.OK]
    assert watch.look() is Judgement.DEGRADED
    assert "has not ended" in watch.detail
    watch.until(Judgement.FAILING)


def test_starting_again_and_again_without_success_is_found() -> None:
    watch = Watch()
    watch.push("success")
    heard = [watch.look(Ping(kind="start"), after_s=10.0) for _ in range(30)]
    assert heard[0] is Judgement.OK
    assert heard[-1] is Judgement.FAILING


def test_a_start_postpones_the_deadline_once() -> None:
    watch = Watch()
    watch.push("success")
    for _ in range(3):
        watch.look()
    watch.push("start")
    assert Judgement.FAILING not in {watch.look() for _ in range(4)}


def test_while_our_door_was_shut_nobody_was_late() -> None:
    watch = Watch()
    watch.push("success")
    assert watch.look(after_s=7200.0) is Judgement.UNKNOWN
    assert {watch.look() for _ in range(6)} == {Judgement.UNKNOWN}
    assert watch.look() is Judgement.FAILING


def test_time_in_which_the_machine_is_starved_does_not_count() -> None:
    watch = Watch()
    watch.push("success")
    watch.able = False
    assert Judgement.FAILING not in {watch.look() for _ in range(300)}
