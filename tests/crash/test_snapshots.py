"""Snapshots survive power cuts and kill -9. The long form: `python -m tests.crash.snapshots`, or `-m full`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash.snapshots import BUGS, Broken, cut_everywhere, kill_everywhere

SEED = 20261121


def test_a_hundred_power_cuts_lose_no_committed_snapshot(tmp_path: Path) -> None:
    assert cut_everywhere(100, SEED, place=tmp_path) == 100


def test_a_killed_writer_loses_no_committed_snapshot(tmp_path: Path) -> None:
    assert kill_everywhere(15, SEED, tmp_path) > 0


@pytest.mark.parametrize("bug", BUGS)
def test_the_campaign_catches_a_planted_bug(bug: str, tmp_path: Path) -> None:
    with BUGS[bug](), pytest.raises(Broken):
        cut_everywhere(400, SEED, snapshots=2, place=tmp_path)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_thousand_power_cuts_and_kills_lose_no_committed_snapshot(tmp_path: Path) -> None:
    cuts = int(os.environ.get("HOLDFAST_SNAPSHOT_CUTS", "3000"))
    assert cut_everywhere(cuts, SEED, snapshots=6, place=tmp_path) >= cuts
    assert kill_everywhere(int(os.environ.get("HOLDFAST_SNAPSHOT_KILLS", "300")), SEED, tmp_path) > 0
