"""What doctor says of the memory leases of a machine."""

from pathlib import Path

import pytest

from holdfast.home import Home
from holdfast.node import holding
from holdfast.node.cgroups import CgroupPlan, Mount, View, plan
from holdfast.node.doctor import checks

V2 = CgroupPlan("v2", "", Path("/x"), frozenset({"memory", "pids", "cpu"}))
V1 = CgroupPlan("hybrid", "", Path("/x"), frozenset({"pids"}), {"memory": Path("/y")})
BARE = CgroupPlan("none", "no cgroups")


@pytest.mark.parametrize(
    ("found", "ok", "by"), [(V2, True, "v2: memory.high"), (V1, True, "cgroup v1"), (BARE, False, "readings alone")]
)
def test_doctor_says_what_holds_the_leases(tmp_path: Path, found: CgroupPlan, ok: bool, by: str) -> None:
    check = next(one for one in checks(Home(tmp_path), found) if one.name == "leases")
    assert check.ok == ok
    assert by in check.value
    assert ok or (check.why and check.next)


def test_doctor_says_what_it_means_that_there_is_no_swap(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 4000000 kB\nSwapTotal:  0 kB\nSwapFree:  0 kB\n")
    assert "keep their memory" in holding.swap(meminfo)
    meminfo.write_text("MemTotal: 4000000 kB\nSwapTotal:  2000000 kB\nSwapFree:  1000000 kB\n")
    assert holding.swap(meminfo) == "1.0 of 2.0 GB free"


@pytest.mark.parametrize(("mode", "ok"), [("0\n", True), ("1\n", True), ("2\n", False)])
def test_doctor_warns_of_strict_accounting(tmp_path: Path, mode: str, ok: bool) -> None:
    file = tmp_path / "overcommit_memory"
    file.write_text(mode)
    found, _, why, next_step = holding.overcommit(file)
    assert found == ok
    assert bool(why) == bool(next_step) == (not ok)


def test_a_hierarchy_that_cannot_be_written_is_named_although_others_can(tmp_path: Path) -> None:
    for name in ("unified", "pids"):
        (tmp_path / name).mkdir()
    (tmp_path / "unified" / "cgroup.procs").write_text("")
    absent = Mount(tmp_path / "memory", "/", frozenset({"memory"}))
    pids = Mount(tmp_path / "pids", "/", frozenset({"pids"}))
    view = View(Mount(tmp_path / "unified", "/", frozenset()), (absent, pids), "/", {}, "/")
    found = plan(view, "holdfast-x", "auto", True, take=False)
    assert found.kind == "hybrid"
    assert f"{tmp_path / 'memory'}: No such file" in found.why
