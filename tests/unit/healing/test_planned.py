"""Planned moments: zones, daylight saving, lateness; and maintenance windows."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from holdfast.healing import planned
from holdfast.healing.planned import Choice, Sight
from holdfast.spec.model import Maintenance, PlannedTime

BERLIN = PlannedTime(hour=4, minute=0, zone="Europe/Berlin")


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize(
    ("time", "day", "expected"),
    [
        (BERLIN, "2026-11-21", at("2026-11-21T04:00")),
        (PlannedTime(hour=2, minute=30, zone="Europe/Berlin"), "2026-03-29", at("2026-03-29T03:00")),  # skipped
        (PlannedTime(hour=2, minute=30, zone="Europe/Berlin"), "2026-10-25", at("2026-10-25T02:30")),  # twice: first
        (PlannedTime(hour=2, minute=10, zone="Australia/Lord_Howe"), "2026-10-04",
         at("2026-10-04T02:30", "Australia/Lord_Howe")),  # a gap of half an hour
        (PlannedTime(hour=0, minute=0, zone="UTC"), "2026-01-01", at("2026-01-01T00:00", "UTC")),
    ],
)  # fmt: skip
def test_a_planned_time_happens_once_on_its_day(time: PlannedTime, day: str, expected: float) -> None:
    assert planned.moment(time, datetime.fromisoformat(day).date()) == expected


def test_every_slot_of_two_years_is_met_exactly_once_by_looking_each_ten_minutes() -> None:
    times = (PlannedTime(hour=2, minute=30, zone="Europe/Berlin"),)
    now, end, settled, met = at("2026-01-01T00:00"), at("2028-01-01T00:00"), at("2026-01-01T00:00"), []
    while now < end:
        slot = planned.latest(times, now)
        if slot is not None and slot > settled:
            settled = slot
            met.append(slot)
        now += 600
    assert len(met) == 730
    assert len(set(met)) == 730


def test_following_and_latest_are_neighbours() -> None:
    now = at("2026-11-21T12:00")
    assert planned.latest((BERLIN,), now) == at("2026-11-21T04:00")
    assert planned.following((BERLIN,), now) == at("2026-11-22T04:00")


def test_days_of_the_week_are_kept() -> None:
    sunday = PlannedTime(hour=4, minute=0, zone="Europe/Berlin", days=(6,))
    now = at("2026-11-21T12:00")  # a Saturday
    assert planned.latest((sunday,), now) == at("2026-11-15T04:00")
    assert planned.following((sunday,), now) == at("2026-11-22T04:00")


SLOT = at("2026-11-21T04:00")
WELL = Sight(settled_at=SLOT - 86_400, well=True, idle=None)


@pytest.mark.parametrize(
    ("sight", "late_s", "expected"),
    [
        (WELL, 1, Choice.RESTART),
        (WELL, 599, Choice.RESTART),
        (WELL, 601, Choice.PASS),
        (Sight(settled_at=SLOT, well=True, idle=None), 1, Choice.NOTHING),
        (Sight(settled_at=0, well=False, idle=None), 1, Choice.WAIT),
        (Sight(settled_at=0, well=False, idle=None), 601, Choice.PASS),
        (Sight(settled_at=0, well=True, idle=False), 1, Choice.RESTART),
        (Sight(settled_at=0, well=True, idle=False, when_idle=True, idle_wait_s=3600), 1, Choice.WAIT),
        (Sight(settled_at=0, well=True, idle=True, when_idle=True, idle_wait_s=3600), 3000, Choice.RESTART),
        (Sight(settled_at=0, well=True, idle=False, when_idle=True, idle_wait_s=3600), 3601, Choice.PASS),
        (Sight(settled_at=0, well=True, idle=None, when_idle=True, idle_wait_s=3600), 1, Choice.RESTART),
        (Sight(settled_at=0, well=True, idle=None, room=False), 1, Choice.WAIT),
        (Sight(settled_at=0, well=True, idle=None, hands_off=True), 1, Choice.WAIT),
    ],
)
def test_what_is_done_with_a_slot(sight: Sight, late_s: float, expected: Choice) -> None:
    choice, slot, why = planned.choose((BERLIN,), sight, SLOT + late_s)
    assert choice is expected
    assert (slot == SLOT) is (choice is not Choice.NOTHING)
    assert bool(why) is (choice in (Choice.WAIT, Choice.PASS))


def test_an_outage_of_a_week_makes_up_nothing() -> None:
    choice, _, _ = planned.choose((BERLIN,), WELL, SLOT + 7 * 86_400 + 7_200)
    assert choice is Choice.PASS


def test_a_maintenance_window_begins_and_ends() -> None:
    window = Maintenance(windows=(BERLIN,), length_s=7_200)
    assert not planned.hands_off(window, SLOT - 1)
    assert planned.hands_off(window, SLOT)
    assert planned.hands_off(window, SLOT + 7_199)
    assert not planned.hands_off(window, SLOT + 7_200)
    assert planned.hands_off_turns_at(window, SLOT + 1) == SLOT + 7_200
    assert planned.hands_off_turns_at(window, SLOT + 7_200) == SLOT + 86_400
    assert planned.hands_off(Maintenance(on=True), 0)
    assert planned.hands_off_turns_at(Maintenance(), 0) is None
