"""The short, seeded form of the crash campaign. The long one: `./dev crash`."""

from __future__ import annotations

import pytest

from tests.crash.bugs import BUGS, planted
from tests.crash.campaign import Campaign
from tests.crash.levels import InitLevel, available_places

PLACES = ("none", "v2")
STUCK_S = 30.0  # of a planted bug that strands somebody: nothing comes back however long one waits


@pytest.mark.parametrize("place", PLACES)
def test_forty_rounds_of_kills_double_lose_and_strand_nobody(place: str) -> None:
    if place not in available_places():
        pytest.skip("no v2 cgroup may be made here by this user")
    level = InitLevel(place)
    try:
        report = Campaign(level, agents=6, seed=20261121).run(rounds=40)
    finally:
        level.destroy()
    assert report.rounds == 40
    assert {"guard", "init", "keeper", "logger", "spawner", "agent"} <= set(report.kills)


@pytest.mark.parametrize("bug", BUGS)
def test_the_campaign_catches_a_planted_bug(bug: str) -> None:
    level = InitLevel("none", planted(bug), patience_s=STUCK_S)
    try:
        with pytest.raises(AssertionError):
            Campaign(level, agents=3, seed=5, settle_s=STUCK_S).run(rounds=80)
    finally:
        level.destroy()
