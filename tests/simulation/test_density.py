"""The short seeded form of the density campaign: `./dev simulate --density` runs the long one."""

from __future__ import annotations

import os

import pytest

from tests.simulation.density_bugs import BUGS, caught
from tests.simulation.density_campaign import campaign, lived

SEED = os.environ.get("HOLDFAST_SEED", "short")
EPISODES = int(os.environ.get("HOLDFAST_DENSITY_EPISODES", "6"))
QUICK = ("the_most_important_goes_first", "twice_the_slack_is_granted", "nobody_comes_back", "nobody_is_ever_killed")


def test_no_invariant_breaks_in_a_short_campaign() -> None:
    tally = campaign(SEED, EPISODES)
    assert tally.failure is None, f"replay: python -m tests.simulation --density --seed {tally.failure[0]}"
    assert tally.seen["Shed"] > 0
    assert tally.seen["ComeBack"] > 0


def test_there_are_at_least_twenty_planted_bugs() -> None:
    assert len(BUGS) >= 20


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_caught(name: str) -> None:
    assert caught(name, SEED, 10) is not None


def test_the_same_seed_is_the_same_fleet_and_the_same_life() -> None:
    one, two = [], []
    assert lived(f"{SEED}:1", one)[0].seen == lived(f"{SEED}:1", two)[0].seen
    assert one == two
