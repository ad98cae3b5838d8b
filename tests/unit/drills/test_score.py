"""How a drill is judged: bounds, expectations, and the comparison with the last run."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.drills import saved, score
from holdfast.drills.faults import FAULTS, Fault
from holdfast.drills.score import Result, Scorecard

FAULT = Fault(name="kill", summary="s", expect="healed", caught_s=1.0, restored_s=2.0, promise="p")


@pytest.mark.parametrize(
    ("caught_s", "restored_s", "broken", "verdict", "detail"),
    [
        (0.5, 2.5, "", "passed", "p"),
        (1.5, 2.5, "", "failed", "caught after 1.50 s"),
        (0.5, 3.5, "", "failed", "restored after 3.50 s"),
        (None, None, "", "failed", "not caught; not restored"),
        (0.5, 0.5, "two helpers are left", "failed", "two helpers are left"),
    ],
)
def test_a_promise_is_kept_or_not(
    caught_s: float | None, restored_s: float | None, broken: str, verdict: str, detail: str
) -> None:
    result = score.judge(FAULT, "a", 1.0, caught_s, restored_s, broken, "")
    assert (result.verdict, result.detail) == (verdict, detail)
    assert result.restored_within_s == 3.0  # a normal start is part of it


@pytest.mark.parametrize(
    ("caught_s", "restored_s", "broken", "verdict"),
    [(0.5, 2.5, "", "passed"), (9.0, 9.5, "", "skipped"), (None, None, "", "failed"), (9.0, 9.5, "lost", "failed")],
)
def test_on_a_starved_machine_late_proves_nothing_and_never_still_fails(
    caught_s: float | None, restored_s: float | None, broken: str, verdict: str
) -> None:
    result = score.judge(FAULT, "a", 1.0, caught_s, restored_s, broken, "", starved=True)
    assert result.verdict == verdict
    assert result.caught_s == caught_s


def _card(at: float, **figures: tuple[str, float]) -> Scorecard:
    results = [Result(fault=name, agent="a", verdict=verdict, restored_s=s) for name, (verdict, s) in figures.items()]
    return Scorecard(holdfast="0", at=at, agent="", throw_away=True, start_s=0.0, results=results)


def test_only_what_changed_is_told() -> None:
    old = _card(1, kill=("passed", 0.1), hang=("passed", 5.0), spin=("skipped", 0.0), leak=("passed", 2.0))
    new = _card(2, kill=("failed", 0.1), hang=("passed", 12.0), spin=("passed", 3.0), leak=("passed", 2.4))
    assert score.compare(new, old) == [
        "kill: passed before, failed now",
        "hang: restored in 12.0 s, 5.0 s before",
    ]
    assert score.compare(new, None) == []
    assert not new.passed
    assert old.passed


def test_the_last_run_of_the_same_agent_is_found_again(tmp_path: Path) -> None:
    first = saved.save(tmp_path, _card(1_000, kill=("passed", 0.1)))
    second = saved.save(tmp_path, _card(2_000, kill=("passed", 0.2)))
    found = saved.last(tmp_path, "", second)
    assert found is not None
    assert found.at == 1_000
    assert saved.last(tmp_path, "", first) is None
    assert saved.last(tmp_path, "other", second) is None
    first.write_text("{")
    assert saved.last(tmp_path, "", second) is None


def test_only_the_newest_runs_are_kept(tmp_path: Path) -> None:
    for number in range(saved.KEPT + 5):
        saved.save(tmp_path, _card(1_000 + number, kill=("passed", 0.1)))
    assert len(list((tmp_path / saved.FOLDER).iterdir())) == saved.KEPT


def test_every_promised_bound_is_tighter_than_what_the_seeds_demand() -> None:
    for fault in FAULTS.values():
        assert 0 < fault.caught_s < 60, fault.name
        assert 0 < fault.restored_s <= 90, fault.name


def test_a_run_in_which_everything_was_skipped_says_that_nothing_was_proved() -> None:
    assert score.unproved(_card(1.0, kill=("skipped", 0.0)).results).startswith("nothing was proved")
    assert score.unproved(_card(1.0, kill=("skipped", 0.0), hang=("failed", 9.0)).results) == ""
