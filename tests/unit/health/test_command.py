"""What the answers of command probes mean."""

from __future__ import annotations

import pytest

from holdfast.health import command
from holdfast.health.command import CommandState, Ran
from holdfast.health.model import Judgement
from holdfast.spec.model import CommandProbe

RULE = CommandProbe(command=("true",), retries=3, timeout_s=10.0)


def judged(*runs: Ran) -> list[tuple[Judgement, str]]:
    state, found = CommandState(), []
    for ran in runs:
        state, judgement, detail = command.judge(RULE, state, ran)
        found.append((judgement, detail))
    return found


@pytest.mark.parametrize(
    ("ran", "judgement", "detail"),
    [
        (Ran(code=0, line="fine"), Judgement.OK, ""),
        (Ran(code=1, line="queue is long"), Judgement.DEGRADED, "queue is long"),
        (Ran(code=1), Judgement.DEGRADED, "exit 1"),
        (Ran(code=2, line="dead"), Judgement.FAILING, "exit 2: dead"),
        (Ran(timed_out=True), Judgement.FAILING, "no answer in 10 s"),
        (Ran(signal="SIGSEGV"), Judgement.FAILING, "the probe was ended by SIGSEGV"),
        (Ran(code=0, said=Judgement.FAILING, line="0 channels"), Judgement.FAILING, "0 channels"),
        (Ran(code=0, said=Judgement.UNKNOWN, line="starting"), Judgement.UNKNOWN, "starting"),
    ],
)
def test_the_third_answer_alike_is_what_it_means(ran: Ran, judgement: Judgement, detail: str) -> None:
    assert judged(ran, ran, ran)[-1] == (judgement, detail)


def test_failing_needs_its_number_in_a_row() -> None:
    bad, good = Ran(code=2), Ran(code=0)
    words = [judgement for judgement, _ in judged(bad, bad, good, bad, bad, bad, good)]
    failing = [Judgement.DEGRADED, Judgement.DEGRADED, Judgement.OK, Judgement.DEGRADED, Judgement.DEGRADED]
    assert words == [*failing, Judgement.FAILING, Judgement.OK]


def test_what_was_skipped_is_unknown_and_neither_adds_nor_takes_away() -> None:
    bad, skipped = Ran(code=2), Ran(skipped="the machine is starved")
    words = [judgement for judgement, _ in judged(bad, bad, *[skipped] * 50, bad)]
    assert set(words[2:-1]) == {Judgement.UNKNOWN}
    assert words[-1] is Judgement.FAILING


def test_a_probe_that_cannot_be_started_never_fails_the_agent() -> None:
    words = [judgement for judgement, _ in judged(*[Ran(broken="No such file or directory")] * 50)]
    assert words[:2] == [Judgement.UNKNOWN] * 2
    assert set(words[2:]) == {Judgement.DEGRADED}
