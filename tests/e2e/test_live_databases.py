"""Databases under writers that never stop, copied and judged; and that the judge would see a bad copy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast import limits
from tests.crash.databases import BUGS, Broken, campaign, planted

_TRIALS = int(os.environ.get("HOLDFAST_DATABASE_TRIALS", "40"))


PATIENCE = (
    "FREEZE_MAX_S", "FREEZE_HOLD_S", "FREEZE_REACH_S", "FREEZE_WATCHER_WAIT_S", "GUARD_SLACK_S",
    "GUARD_COPY_MAX_S",
)  # fmt: skip


def _place(tmp_path: Path) -> str | None:
    """Root's own temporary directories are closed to the other user whose databases root copies."""
    return str(tmp_path) if os.geteuid() else None


def test_every_copy_is_one_moment_of_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PATIENCE:  # on a slow machine a copy within them may not be possible, and says so
        monkeypatch.setattr(limits, name, 60.0)
    monkeypatch.setattr(limits, "GUARD_WAIT_S", 1.5)  # waited for whenever a writer keeps its database to itself
    report = campaign(_TRIALS, seed=20261121, place=_place(tmp_path))
    assert report.trials == _TRIALS
    assert not report.fuzzy


@pytest.mark.parametrize("bug", BUGS)
def test_the_judge_catches_a_planted_bug(bug: str, tmp_path: Path) -> None:
    with planted(bug), pytest.raises(Broken):
        campaign(300, seed=20261121, place=_place(tmp_path))
