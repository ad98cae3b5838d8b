"""Choosing cgroups, from the texts that real machines show."""

from pathlib import Path

import pytest

from holdfast.node import cgroups, delegation
from holdfast.node.cgroups import Mount, View, parse, place, plan, v2_base

SYSTEMD_V2 = "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot"
HYBRID = """\
30 25 0:26 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/memory rw shared:13 - cgroup cgroup rw,memory
35 30 0:31 / /sys/fs/cgroup/pids rw shared:14 - cgroup cgroup rw,pids
"""
DOCKER_V1 = (
    "40 39 0:28 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    r"41 39 0:29 / /with\040blank rw - cgroup cgroup rw,freezer"
)


def test_a_unified_machine_is_understood() -> None:
    view = parse(SYSTEMD_V2, "0::/user.slice/session-3.scope\n", "0::/init.scope\n")
    assert view.v2 == Mount(Path("/sys/fs/cgroup"), "/", frozenset())
    assert view.own_v2 == "/user.slice/session-3.scope"
    assert view.v1 == ()


def test_a_hybrid_machine_is_understood() -> None:
    own = "4:memory:/a\n3:cpu,cpuacct:/b\n1:name=systemd:/c:d\n0::/e (deleted)\n"
    view = parse(HYBRID, own, "")
    assert view.v2 is not None
    assert view.own_v1 == {"memory": "/a", "cpu": "/b", "cpuacct": "/b", "name=systemd": "/c:d"}
    assert view.own_v2 == "/e"
    assert [mount.point.name for mount in view.v1 if "cpu" in mount.controllers] == ["cpu,cpuacct"]


def test_a_container_sees_its_own_part_of_a_hierarchy() -> None:
    view = parse(DOCKER_V1, "3:memory:/docker/abc\n", "")
    assert place(view.v1[0], "/docker/abc") == Path("/sys/fs/cgroup/memory")
    assert place(view.v1[0], "/docker/abc/inner") == Path("/sys/fs/cgroup/memory/inner")
    assert place(view.v1[0], "/docker/abcdef") is None
    assert place(view.v1[0], "/../other") is None
    assert view.v1[1].point == Path("/with blank")


@pytest.mark.parametrize(
    ("own", "first", "is_root", "base"),
    [
        ("/system.slice/holdfast.service", "/init.scope", True, "/sys/fs/cgroup"),
        ("/", "/", True, "/sys/fs/cgroup"),
        ("/docker/abc", "/docker/abc", True, "/sys/fs/cgroup/docker/abc"),
        ("/docker/abc/holdfast-own", "/docker/abc/holdfast-own", True, "/sys/fs/cgroup/docker/abc"),
        ("/holdfast-own", "/holdfast-own", True, "/sys/fs/cgroup"),
        ("/user.slice/run-1.scope", "/init.scope", False, "/sys/fs/cgroup/user.slice/run-1.scope"),
        ("/user.slice/run-1.scope/holdfast-own", "/init.scope", False, "/sys/fs/cgroup/user.slice/run-1.scope"),
    ],
)
def test_our_directory_goes_where_it_can_stay(own: str, first: str, is_root: bool, base: str) -> None:
    view = parse(SYSTEMD_V2, f"0::{own}\n", f"0::{first}\n")
    assert v2_base(view, is_root) == Path(base)


class FakeTree:
    """Directories that stand in for hierarchies; a new cgroup has no files here, so only ours are seen."""

    def __init__(self, root: Path, offered: str) -> None:
        self.v2 = root / "unified"
        self.memory, self.freezer = root / "memory", root / "freezer"
        for each in (self.v2, self.memory, self.freezer):
            each.mkdir()
        (self.v2 / "cgroup.procs").write_text("")
        (self.v2 / "cgroup.controllers").write_text(offered)
        (self.v2 / "cgroup.subtree_control").write_text(offered)
        (self.v2 / "holdfast-x").mkdir()
        (self.v2 / "holdfast-x" / "cgroup.subtree_control").write_text(offered)
        v1 = (Mount(self.memory, "/", frozenset({"memory"})), Mount(self.freezer, "/", frozenset({"freezer"})))
        self.view = View(Mount(self.v2, "/", frozenset()), v1, "/", {}, "/")


def test_v2_with_all_controllers_needs_no_v1(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, "cpu memory pids io")
    found = plan(tree.view, "holdfast-x", "auto", True)
    assert (found.kind, found.controllers) == ("v2", {"memory", "pids", "cpu"})
    assert found.v2_root == tree.v2 / "holdfast-x"
    assert not list(tree.memory.iterdir())


def test_what_v2_does_not_offer_is_taken_from_v1(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, "pids")
    found = plan(tree.view, "holdfast-x", "auto", True)
    assert (found.kind, found.controllers) == ("hybrid", {"memory", "pids"})
    assert found.v1_roots == {"memory": tree.memory / "holdfast-x"}
    assert found.tracker is None


def test_v1_alone_tracks_by_the_freezer(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, "")
    found = plan(tree.view, "holdfast-x", "v1", True)
    assert (found.kind, found.tracker, found.controllers) == ("v1", "freezer", {"memory"})
    assert set(found.v1_roots) == {"freezer", "memory"}


def test_expecting_leaves_nothing_behind(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, "pids")
    found = plan(tree.view, "holdfast-new", "auto", True, take=False)
    assert (found.kind, found.controllers) == ("hybrid", {"memory", "pids"})
    assert not list(tmp_path.rglob("holdfast-new")) + list(tmp_path.rglob("holdfast-trial*"))


def test_a_machine_that_refuses_has_no_cgroups_and_the_reason_is_told(tmp_path: Path) -> None:
    gone = Mount(tmp_path / "absent", "/", frozenset())
    found = plan(View(gone, (), "/", {}, "/"), "holdfast-x", "auto", True)
    assert found.kind == "none"
    assert "No such file" in found.why


def test_a_forced_choice_is_kept_and_a_wrong_one_explained() -> None:
    nothing = View(None, (), None, {}, None)
    assert plan(nothing, "holdfast-x", "none", True).kind == "none"
    assert "is not understood" in plan(nothing, "holdfast-x", "v3", True).why
    assert cgroups.choose("x", "none").kind == "none"


def test_a_controller_already_on_is_not_switched_again(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, "memory")
    before = (tree.v2 / "cgroup.subtree_control").stat().st_mtime_ns
    held, why = delegation.enable(tree.v2, tree.v2 / "holdfast-x", ("memory", "cpu"))
    assert held == {"memory"}
    assert "does not offer cpu" in why
    assert (tree.v2 / "cgroup.subtree_control").stat().st_mtime_ns == before
