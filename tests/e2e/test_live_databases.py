"""Databases under writers that never stop, copied and judged; and that the judge would see a bad copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.databases import BUGS, Broken, campaign, planted

_TRIALS = int(os.environ.get("HOLDFAST_DATABASE_TRIALS", "40"))


def _place(tmp_path: Path) -> str | None:
    """Root's own temporary directories are closed to the other user whose databases root copies."""
    return str(tmp_path) if os.geteuid() else None


def test_every_copy_is_one_moment_of_its_database(tmp_path: Path) -> None:
    report = campaign(_TRIALS, seed=20261121, place=_place(tmp_path))
    assert report.trials == _TRIALS
    assert not report.fuzzy


@pytest.mark.parametrize("bug", BUGS)
def test_the_judge_catches_a_planted_bug(bug: str, tmp_path: Path) -> None:
    with planted(bug), pytest.raises(Broken):
        campaign(300, seed=20261121, place=_place(tmp_path))
