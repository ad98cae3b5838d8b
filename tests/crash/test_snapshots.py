"""Snapshots survive power cuts and kill -9. The long form: `python -m tests.crash.snapshots`, or `-m full`."""

from __future__ import annotations

import os

import pytest

from tests.crash.snapshots import BUGS, Broken, cut_everywhere, kill_everywhere

SEED = 20261121


def test_a_hundred_power_cuts_lose_no_committed_snapshot() -> None:
    assert cut_everywhere(100, SEED) == 100


def test_a_killed_writer_loses_no_committed_snapshot() -> None:
    assert kill_everywhere(15, SEED) > 0


@pytest.mark.parametrize("bug", BUGS)
def test_the_campaign_catches_a_planted_bug(bug: str) -> None:
    with BUGS[bug](), pytest.raises(Broken):
        cut_everywhere(400, SEED, snapshots=2)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_a_thousand_power_cuts_and_kills_lose_no_committed_snapshot() -> None:
    assert cut_everywhere(int(os.environ.get("HOLDFAST_SNAPSHOT_CUTS", "3000")), SEED, snapshots=6) >= 1000
    assert kill_everywhere(int(os.environ.get("HOLDFAST_SNAPSHOT_KILLS", "300")), SEED) > 0
