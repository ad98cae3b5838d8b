"""The directories of pods; plain directories stand in for cgroups."""

from pathlib import Path

import pytest

from holdfast.node.cgroups import CgroupPlan
from holdfast.pods import groups
from holdfast.pods.limits import hold, standing
from holdfast.spec.model import Limits

LIMITED = Limits(memory_bytes=1 << 20, pids=10)


def hybrid(root: Path) -> CgroupPlan:
    for name in ("v2", "memory", "pids", "cpu"):
        (root / name).mkdir()
    v1 = {name: root / name for name in ("memory", "pids", "cpu")}
    return CgroupPlan("hybrid", "", root / "v2", frozenset(), v1)


def test_only_hierarchies_that_hold_something_are_joined(tmp_path: Path) -> None:
    plan = hybrid(tmp_path)
    made = groups.make(plan, "a", 1, hold(LIMITED, plan, 1).settings)
    assert made.v2 == tmp_path / "v2" / "a.1"
    assert set(made.v1) == {tmp_path / "memory" / "a.1", tmp_path / "pids" / "a.1"}
    assert (tmp_path / "pids" / "a.1" / "pids.max").read_text() == "10"
    assert groups.make(plan, "b", 1, ()).v1 == ()
    assert set(groups.make(plan, "c", 1, standing(plan, 50)).v1) == {
        tmp_path / "memory" / "c.1",
        tmp_path / "cpu" / "c.1",
    }


def test_the_tracking_directory_comes_first(tmp_path: Path) -> None:
    roots = {name: tmp_path / name for name in ("memory", "freezer")}
    plan = CgroupPlan("v1", "", v1_roots=roots, tracker="freezer")
    made = groups.make(plan, "a", 3, hold(LIMITED, plan, 1).settings)
    assert made.v1 == (tmp_path / "freezer" / "a.3", tmp_path / "memory" / "a.3")
    assert made.v2 is None


def test_a_limit_that_the_kernel_refuses_is_told(tmp_path: Path) -> None:
    plan = hybrid(tmp_path)
    (tmp_path / "memory" / "a.1" / "memory.limit_in_bytes").mkdir(parents=True)
    assert list(groups.make(plan, "a", 1, hold(LIMITED, plan, 1).settings).failed) == ["memory"]


def test_a_limit_no_longer_declared_is_taken_back(tmp_path: Path) -> None:
    plan = CgroupPlan("v2", "", tmp_path, frozenset({"memory", "pids", "cpu"}))
    made = groups.make(plan, "a", 1, hold(LIMITED, plan, 1).settings)
    assert made.v2 is not None
    groups.make(plan, "a", 1, hold(Limits(pids=10), plan, 1).settings)
    assert (made.v2 / "memory.max").read_text() == "max"
    assert (made.v2 / "pids.max").read_text() == "10"


def test_in_v1_the_room_comes_before_the_killing(tmp_path: Path) -> None:
    plan = hybrid(tmp_path)
    made = groups.make(plan, "a", 1, (*hold(LIMITED, plan, 1).settings, *standing(plan, 50)))
    memory = made.v1[0]
    assert (memory / "memory.oom_control").read_text() == "0"
    assert (tmp_path / "cpu" / "cpu.shares").exists()
    groups.make(plan, "a", 1, standing(plan, 50))
    assert (memory / "memory.limit_in_bytes").read_text() == "-1"


@pytest.mark.parametrize("busy", [True, False])
def test_the_ceiling_of_one_that_runs_stays_when_its_pod_is_described_again(tmp_path: Path, busy: bool) -> None:
    plan = hybrid(tmp_path)
    settings = (*hold(LIMITED, plan, 1).settings, *standing(plan, 50))
    memory = groups.make(plan, "a", 1, settings).v1[0]
    (memory / "cgroup.procs").write_text("12\n" if busy else "")
    (memory / "memory.limit_in_bytes").write_text("4096\n")
    (memory / "memory.oom_control").write_text("oom_kill_disable 1\nunder_oom 1\n")
    for again in (settings, standing(plan, 50)):
        groups.make(plan, "a", 1, again)
        assert ((memory / "memory.limit_in_bytes").read_text() == "4096\n") is busy
        assert ((memory / "memory.oom_control").read_text() != "0") is busy
    lower = hold(Limits(memory_bytes=1024), plan, 1).settings
    groups.make(plan, "a", 1, lower)
    assert (memory / "memory.limit_in_bytes").read_text() == "1024"


def test_a_v2_ceiling_stays_with_its_backstop_while_somebody_runs(tmp_path: Path) -> None:
    plan = CgroupPlan("v2", "", tmp_path, frozenset({"memory"}))
    place = groups.make(plan, "a", 1, standing(plan, 50)).v2
    assert place is not None
    for name, value in (("cgroup.procs", "12\n"), ("memory.high", "4096\n"), ("memory.max", "8192\n")):
        (place / name).write_text(value)
    groups.make(plan, "a", 1, standing(plan, 50))
    assert [(place / name).read_text() for name in ("memory.high", "memory.max")] == ["4096\n", "8192\n"]
    (place / "cgroup.procs").write_text("")
    groups.make(plan, "a", 1, standing(plan, 50))
    assert [(place / name).read_text() for name in ("memory.high", "memory.max")] == ["max", "max"]


def test_the_sums_of_what_is_protected_go_to_the_root(tmp_path: Path) -> None:
    for name in ("memory.low", "memory.min"):
        (tmp_path / name).touch()
    plan = CgroupPlan("v2", "", tmp_path, frozenset({"memory"}))
    assert groups.protect_root(plan, 300, 100)
    assert [int((tmp_path / name).read_text()) for name in ("memory.low", "memory.min")] == [300, 100]
    assert not groups.protect_root(CgroupPlan("none", ""), 300, 100)


def test_pruning_takes_former_pods_and_leaves_current_and_foreign_ones(tmp_path: Path) -> None:
    plan = hybrid(tmp_path)
    for name in ("a.1", "a.2", "gone.1", "crew-1.4", "notes", "x.y"):
        (tmp_path / "v2" / name).mkdir()
    (tmp_path / "v2" / "gone.1" / "inner").mkdir()
    (tmp_path / "v2" / "a.1" / "busy").write_text("stands in for processes inside")
    assert groups.prune(plan, {"a": 2, "crew-1": 4}) == [str(tmp_path / "v2" / "a.1")]
    assert {each.name for each in (tmp_path / "v2").iterdir()} == {"a.1", "a.2", "crew-1.4", "notes", "x.y"}


def test_removing_what_is_not_there_is_done(tmp_path: Path) -> None:
    assert groups.remove(hybrid(tmp_path), "a", 1)
