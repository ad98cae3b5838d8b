"""What the use of a resource means, as tables."""

from __future__ import annotations

import random

import pytest

from holdfast.health import resources as rules
from holdfast.health.resources import ALARM, TOLD, WELL, Standing
from holdfast.health.trend import Trend
from holdfast.spec.model import Limits, Resources

M = 10**6
WANTED = Resources()
NEW = Standing()


@pytest.mark.parametrize(
    ("before", "share", "level"),
    [
        (WELL, 0.69, WELL),
        (WELL, 0.70, TOLD),
        (TOLD, 0.67, TOLD),  # left later than entered
        (TOLD, 0.65, WELL),
        (WELL, 0.80, ALARM),
        (TOLD, 0.79, TOLD),
        (ALARM, 0.76, ALARM),
        (ALARM, 0.74, TOLD),
        (ALARM, 0.60, WELL),
    ],
)
def test_memory_against_its_limit(before: int, share: float, level: int) -> None:
    after = rules.memory(Standing(before, "was"), int(share * 500 * M), 500 * M, None, WANTED)
    assert after.level == level
    assert bool(after.detail) == (level != WELL)


def test_growth_is_told_in_a_sentence_that_stays() -> None:
    trend = Trend(4.1 * M / 60, 1800)
    told = rules.memory(NEW, 340 * M, 500 * M, trend, WANTED)
    assert told.detail == "68% of its limit of 500 MB is in use; reaches it in about 40 min at 4.1 MB/min"
    later = rules.memory(told, 380 * M, 500 * M, trend, WANTED)
    assert later is told
    near = rules.memory(later, 425 * M, 500 * M, trend, WANTED)
    assert near.level == ALARM
    assert "in about 18 min" in near.detail


def test_growth_far_from_the_limit_is_not_told() -> None:
    assert rules.memory(NEW, 340 * M, 500 * M, Trend(0.1 * M / 60, 1800), WANTED) == NEW
    assert rules.memory(NEW, 50 * M, 500 * M, Trend(20 * M / 60, 1800), WANTED) == NEW


def test_without_a_limit_or_a_reading_memory_says_nothing() -> None:
    assert rules.memory(NEW, 10**12, None, None, WANTED) == NEW
    assert rules.memory(Standing(ALARM, "was"), None, 500 * M, None, WANTED) == NEW


def test_cpu_is_told_after_its_time_and_a_pause_begins_anew() -> None:
    state = NEW
    for second in range(0, 300, 15):
        state = rules.cpu(state, 0.97, second, WANTED, None)
        assert state.level == WELL
    state = rules.cpu(state, 0.97, 300, WANTED, None)
    assert state.detail == "above 90% of one core for 5 min"
    assert rules.cpu(state, 0.87, 315, WANTED, None) is state
    assert rules.cpu(state, 0.5, 330, WANTED, None) == NEW
    paused = rules.cpu(rules.cpu(NEW, 0.95, 0, WANTED, 2.0), 0.89, 15, WANTED, 2.0)
    assert paused == NEW
    assert "its 2 cores" in rules.cpu(Standing(WELL, "", 0.0), 0.95, 400, WANTED, 2.0).detail


def test_a_share_of_cpu_needs_two_readings_that_compare() -> None:
    assert rules.cpu_share(10.0, 25.0, 15.0, None) == 1.0
    assert rules.cpu_share(10.0, 25.0, 15.0, 2.0) == 0.5
    assert rules.cpu_share(None, 25.0, 15.0, None) is None
    assert rules.cpu_share(25.0, 10.0, 15.0, None) is None


def test_descriptors_processes_and_own_disk() -> None:
    assert rules.descriptors(NEW, 700, 1024, WANTED) == NEW
    told = rules.descriptors(NEW, 850, 1024, WANTED)
    assert told.detail == "850 of 1024 open files"
    assert rules.descriptors(told, 800, 1024, WANTED) is told
    assert rules.descriptors(told, 700, 1024, WANTED) == NEW
    assert rules.descriptors(NEW, None, 1024, WANTED) == NEW
    assert rules.processes(NEW, 50, Resources(processes=40), Limits()).level == TOLD
    assert rules.processes(NEW, 50, WANTED, Limits(pids=200)) == NEW
    assert rules.processes(NEW, 190, WANTED, Limits(pids=200)).detail == "190 processes; 200 is its bound"
    assert rules.own_disk(NEW, 10 * M, Resources(disk_bytes=5 * M)).level == TOLD
    assert rules.own_disk(NEW, 10 * M, WANTED) == NEW


def test_a_disk_is_told_at_85_percent_and_left_below_80() -> None:
    told = rules.node_disk(NEW, 0.86, "/data", 0.85)
    assert told.detail == "the disk of /data is 86% full"
    assert rules.node_disk(told, 0.81, "/data", 0.85) is told
    assert rules.node_disk(told, 0.79, "/data", 0.85) == NEW


@pytest.mark.parametrize("seed", range(20))
def test_a_value_that_dances_around_its_level_does_not_flap(seed: int) -> None:
    roll, state, changes = random.Random(seed), NEW, 0
    for _ in range(500):
        after = rules.memory(state, int(roll.uniform(0.68, 0.72) * 500 * M), 500 * M, None, WANTED)
        changes += after.detail != state.detail
        state = after
    assert changes <= 1, f"seed {seed}"
