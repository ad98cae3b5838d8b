"""Disks, the order in which the kernel kills, and doctor."""

import os
from pathlib import Path

import pytest

from holdfast.home import Home
from holdfast.node import disks, oom
from holdfast.node.cgroups import CgroupPlan
from holdfast.node.doctor import checks


def test_room_is_read_and_a_trial_leaves_nothing(tmp_path: Path) -> None:
    assert disks.room(tmp_path).total_bytes > 0
    assert disks.why_unwritable(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    assert disks.why_unwritable(tmp_path / "absent") == os.strerror(2)


def test_a_larger_priority_is_kept_longer() -> None:
    scores = [oom.score_adj(priority, -1000) for priority in (-1000, 0, 50, 100, 200, 1000)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] <= 1000
    assert scores[-1] > -1000


def test_an_ordinary_user_can_only_raise_the_score() -> None:
    assert oom.score_adj(1000, 200) == 200
    assert oom.score_adj(0, 200) > 200


def test_doctor_looks_at_everything_and_leaves_nothing(tmp_path: Path) -> None:
    found = checks(Home(tmp_path / "absent" / "home"))
    names = {each.name for each in found}
    assert {"python", "pidfd", "clone3", "cgroups", "user", "systemd", "disk", "pressure", "open files"} <= names
    assert all(each.value != "unknown" or each.name == "clock" for each in found)
    assert all(each.why and each.next for each in found if not each.ok)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(("held", "ok"), [(frozenset({"memory", "pids", "cpu"}), True), (frozenset({"pids"}), False)])
def test_doctor_says_which_limits_hold(tmp_path: Path, held: frozenset[str], ok: bool) -> None:
    plan = CgroupPlan("v2", "no cpu here", tmp_path, held)
    check = next(each for each in checks(Home(tmp_path), plan) if each.name == "cgroups")
    assert check.ok == ok
    assert check.value.startswith("v2: ")
    assert ok or check.why == "no cpu here"
