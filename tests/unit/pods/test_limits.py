"""Which limits hold, and by what."""

from pathlib import Path

from holdfast.node.cgroups import CgroupPlan
from holdfast.pods.limits import cpu_weight, hold, possible, standing
from holdfast.spec.model import Limits

ALL = frozenset({"memory", "pids", "cpu"})
V2 = CgroupPlan("v2", "", Path("/v2"), ALL)
V1 = CgroupPlan("v1", "", v1_roots={"freezer": Path("/f"), "memory": Path("/m"), "cpu": Path("/c")}, tracker="freezer")
HYBRID = CgroupPlan("hybrid", "", Path("/v2"), frozenset({"pids"}), {"memory": Path("/m")})
NONE = CgroupPlan("none", "")
WANTED = Limits(memory_bytes=500_000_000, cpus=1.5, pids=200, nofile=4096)


def written(plan: CgroupPlan, wanted: Limits = WANTED) -> dict[str, str]:
    return {each.file: each.value for each in hold(wanted, plan, 100_000).settings}


def held(plan: CgroupPlan, wanted: Limits = WANTED, nofile_most: int = 100_000) -> dict[str, bool]:
    return {each.name: each.held for each in hold(wanted, plan, nofile_most).limits}


def test_v2_holds_everything() -> None:
    assert written(V2) == {
        "memory.max": "500000000",
        "cpu.max": "150000 100000",
        "pids.max": "200",
    }
    assert held(V2) == {"memory": True, "cpus": True, "pids": True, "nofile": True}


def test_v1_holds_what_it_has_a_controller_for() -> None:
    assert written(V1) == {
        "memory.limit_in_bytes": "500000000",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "150000",
    }
    assert held(V1) == {"memory": True, "cpus": True, "pids": False, "nofile": True}


def test_each_limit_goes_to_the_hierarchy_that_has_its_controller() -> None:
    settings = hold(WANTED, HYBRID, 100_000).settings
    assert {(each.controller, each.file) for each in settings} == {
        ("memory", "memory.limit_in_bytes"),
        ("pids", "pids.max"),
    }


def test_without_cgroups_memory_is_held_for_each_process_and_the_rest_is_told() -> None:
    found = hold(WANTED, NONE, 100_000)
    assert found.settings == ()
    assert found.data_bytes == 500_000_000
    assert held(NONE) == {"memory": False, "cpus": False, "pids": False, "nofile": True}
    assert all(each.why for each in found.limits if not each.held)


def test_a_number_of_open_files_beyond_ours_is_cut_and_told() -> None:
    found = hold(Limits(nofile=50_000), V2, 20_000)
    assert found.nofile == 20_000
    assert held(V2, Limits(nofile=50_000), 20_000) == {"nofile": False}


def test_nothing_declared_is_nothing_written() -> None:
    assert hold(Limits(), V2, 1).settings == ()
    assert hold(Limits(), V2, 1).limits == ()


def test_every_agent_has_a_memory_group_and_a_cpu_weight() -> None:
    assert {each.file: each.value for each in standing(V2, 50)} == {"memory.oom.group": "1", "cpu.weight": "100"}
    assert {each.file: each.value for each in standing(V1, 100)} == {"memory.oom_control": "0", "cpu.shares": "5000"}
    assert [each.controller for each in standing(HYBRID, 50)] == ["memory"]
    assert standing(NONE, 50) == ()
    assert not any(each.must for each in standing(V2, 50))


def test_more_priority_is_more_cpu_within_bounds() -> None:
    assert [cpu_weight(priority) for priority in (-1000, 0, 50, 100, 1000)] == [10, 20, 100, 500, 1000]


def test_a_sliver_of_a_cpu_is_what_the_kernel_can_give() -> None:
    assert written(V2, Limits(cpus=0.001)) == {"cpu.max": "1000 100000"}


def test_doctor_is_told_what_is_possible() -> None:
    assert possible(NONE) == {"memory": "", "cpus": "", "pids": "", "nofile": "RLIMIT_NOFILE"}
    assert possible(V2)["memory"] == "cgroup memory.max"
