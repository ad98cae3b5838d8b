"""The short seeded form of the campaigns: `./dev simulate` runs the long one."""

from __future__ import annotations

import os

import pytest

from holdfast.healing.table import TRANSITIONS
from tests.simulation.bugs import BUGS, Doors
from tests.simulation.campaign import Failure, campaign, shrink
from tests.simulation.faults import draw

SEED = os.environ.get("HOLDFAST_SEED", "short")
FAULTS = 40_000  # some 10^5 decisions
BUG_FAULTS = 40_000


def test_no_invariant_breaks_in_a_short_campaign_and_nearly_every_transition_is_seen() -> None:
    tally, _ = campaign(SEED, FAULTS, workers=1)
    assert tally.failure is None, f"replay: python -m tests.simulation --replay {tally.failure.seed}"
    assert tally.observations > 100_000
    expected = sum(len(following) for following in TRANSITIONS.values())
    assert len(tally.transitions) > 0.9 * expected


def test_there_are_at_least_twenty_planted_bugs() -> None:
    assert len(BUGS) >= 20


@pytest.mark.parametrize("name", sorted(BUGS))
def test_a_planted_bug_is_caught(name: str) -> None:
    tally, _ = campaign(SEED, BUG_FAULTS, workers=1, bug=name)
    assert tally.failure is not None, f"seed {SEED}"


def test_the_same_seed_is_the_same_campaign() -> None:
    one, two = (campaign(SEED, 2_000, workers=1)[0] for _ in range(2))
    assert one == two


def test_a_failing_episode_shrinks_to_few_faults_with_a_trace() -> None:
    _, make = BUGS["each_quiet_try_alerts_again"]
    tally, _ = campaign(SEED, BUG_FAULTS, workers=1, bug="each_quiet_try_alerts_again")
    assert isinstance(tally.failure, Failure)
    least, trace = shrink(tally.failure, make())
    assert len(least.faults) < len(draw(tally.failure.seed).faults)
    assert trace[-1].startswith("VIOLATED one_alert")


def test_without_a_bug_the_doors_are_the_real_ones() -> None:
    from holdfast.density import admission
    from holdfast.healing import triage

    assert Doors() == (triage.decide, triage.permit, admission.admit)
