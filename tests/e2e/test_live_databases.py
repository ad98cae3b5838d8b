"""Databases under writers that never stop, copied and judged; and that the judge would see a bad copy."""

from __future__ import annotations

import os

import pytest
from tests.crash.databases import BUGS, Broken, campaign, planted

_TRIALS = int(os.environ.get("HOLDFAST_DATABASE_TRIALS", "40"))


def test_every_copy_is_one_moment_of_its_database() -> None:
    report = campaign(_TRIALS, seed=20261121)
    assert report.trials == _TRIALS
    assert not report.fuzzy


@pytest.mark.parametrize("bug", BUGS)
def test_the_judge_catches_a_planted_bug(bug: str) -> None:
    with planted(bug), pytest.raises(Broken):
        campaign(300, seed=20261121)
