"""The rule that thins snapshots: what it keeps of ordinary days, and that no clock makes it take more."""

import os
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.state.keeping import aging, retention
from holdfast.state.keeping.aging import Reading
from holdfast.state.keeping.retention import Held, Policy, plan
from holdfast.state.model import Pin, Snapshot

HOUR = 3600.0
DAY = 86_400.0
START = 1_790_000_000.0


def snapshot(seq: int, at: float) -> Snapshot:
    return Snapshot(id=f"{seq:032x}", seq=seq, epoch=1, at=at, name=f"{seq}.{seq:032x}")


def held(ages: list[float], healthy: bool = True) -> list[Held]:
    return [Held(snapshot(n, START - age), age, healthy) for n, age in enumerate(ages, 1)]


def left(every: list[Held], pins: tuple[Pin, ...] = ()) -> list[Held]:
    taken = {one.snapshot.id for one in plan(every, pins)}
    return [one for one in every if one.snapshot.id not in taken]


def test_all_of_a_day_hourly_of_a_week_daily_of_a_month_and_weekly_of_a_year_stay():
    ages = [minutes * 60.0 for minutes in range(400 * 24 * 60, 0, -10)]
    stays = [one.age_s for one in left(held(ages))]
    assert [age for age in stays if age < DAY] == [age for age in ages if age < DAY]
    for low, high, every in ((DAY, 7 * DAY, HOUR), (7 * DAY, 30 * DAY, DAY), (30 * DAY, 365 * DAY, 7 * DAY)):
        tier = [age for age in stays if low <= age < high]
        assert all(0.9 * every <= older - newer <= every for older, newer in pairwise(tier))
        assert tier[0] > high - every
        assert tier[-1] < low + every
    assert max(stays) < 365 * DAY


def test_thinning_again_takes_nothing_more():
    once = left(held([minutes * 60.0 for minutes in range(60 * 24 * 60, 0, -7)]))
    assert left(once) == once


def test_pinned_ones_the_newest_and_three_healthy_ones_stay_however_old():
    every = held([9000 * DAY - n for n in range(10)], healthy=False)
    every[4] = Held(every[4].snapshot, every[4].age_s, True)
    every[5] = Held(every[5].snapshot, every[5].age_s, True)
    every[6] = Held(every[6].snapshot, every[6].age_s, True)
    every[2] = Held(every[2].snapshot, every[2].age_s, True)
    stays = left(every, (Pin(id=every[1].snapshot.id, why="known-good"),))
    assert [one.snapshot.seq for one in stays] == [2, 5, 6, 7, 10]


def test_with_too_few_healthy_ones_the_three_newest_stay():
    stays = left(held([9000 * DAY - n for n in range(10)], healthy=False))
    assert [one.snapshot.seq for one in stays] == [8, 9, 10]


def test_dates_in_the_future_and_out_of_order_take_nobody_with_them():
    dates = [START, START + 3650 * DAY, START + 60, START - 365 * DAY, START + 120]
    every = [Held(snapshot(n, at), 3 * DAY + 60 * (5 - n), False) for n, at in enumerate(dates, 1)]
    assert left(every) == every


def test_a_taken_one_says_why():
    whys = {one.why for one in plan(held([500 * DAY, 3 * DAY, 3 * DAY - 60, 3, 2, 1]), ())}
    assert any("older than a year" in why for why in whys)
    assert any("one in an hour is kept" in why for why in whys)


class World:
    """A machine whose clock jumps and which is switched off; it knows the true time, which the rule does not."""

    def __init__(self) -> None:
        self.true = 0.0
        self.up = 500.0
        self.boot = 1
        self.offset = START
        self.times: aging.Times | None = None
        self.made: list[tuple[Snapshot, float]] = []  # with the true time
        self.live: set[int] = set()

    def pass_(self, seconds: float) -> None:
        self.true += seconds
        self.up += seconds

    def make(self) -> None:
        seq = len(self.made) + 1
        self.made.append((snapshot(seq, self.true + self.offset), self.true))
        self.live.add(seq)

    def look(self) -> None:
        """The keeper's round: see what is new, take what the rule takes."""
        reading = Reading(boot=str(self.boot), up_s=self.up, at=self.true + self.offset, trusted=False)
        live = [one for one, _ in self.made if one.seq in self.live]
        self.times = aging.observe(aging.advance(self.times, reading), [one.name for one in live])
        every = [Held(one, aging.age_s(self.times, one.name), True) for one in live]
        for taking in retention.plan(every, ()):
            self.live.remove(taking.snapshot.seq)


JUMPS = st.sampled_from([-365 * DAY, -DAY, -HOUR, -600.0, 600.0, HOUR, DAY, 365 * DAY, 3650 * DAY, -3650 * DAY])
GAPS = st.sampled_from([60.0, 300.0, 600.0, 1800.0, HOUR, 5 * HOUR, DAY])
EVENTS = st.tuples(st.sampled_from(["jump", "off", "quiet", "quiet"]), GAPS, JUMPS, st.integers(1, 12))


def test_a_rule_that_believed_the_wall_clock_would_be_caught(monkeypatch):
    monkeypatch.setattr(aging, "age_s", lambda times, name: times.last.at - DATES[name])
    world = World()
    for number in range(30):
        world.make()
        DATES[world.made[-1][0].name] = world.made[-1][0].at
        world.look()
        world.offset += 3650 * DAY if number == 20 else 0.0
        world.pass_(60.0)
    assert len(world.live) < 30


DATES: dict[str, float] = {}


@settings(max_examples=int(os.environ.get("HOLDFAST_RETENTION_TRIALS", "60")), deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=40))
def test_no_sequence_of_clock_jumps_takes_what_the_rule_keeps(events):
    world = World()
    for what, gap, jump, count in events:
        if what == "jump":
            world.offset += jump
        elif what == "off":  # while off the clock of the machine runs on; the other clock does not
            world.true += gap
            world.boot, world.up = world.boot + 1, 1.0
        for _ in range(count):
            world.make()
            world.look()
            world.pass_(gap)
    world.look()
    widest = max(gaps_of(world)) if len(world.made) > 1 else 0.0
    stays = [when for one, when in world.made if one.seq in world.live]
    for one, when in world.made:
        age = world.true - when
        assert one.seq in world.live or age >= DAY
        for until, every in Policy().steps:
            if age < until:
                assert min(abs(when - other) for other in stays) <= every + widest, (one.seq, age / DAY)
                break


def gaps_of(world: World) -> list[float]:
    return [later - earlier for (_, earlier), (_, later) in pairwise(world.made)]
