"""Real cgroups of this machine: made, limiting, emptied, removed. Only as root (or with a delegated cgroup)."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.home import Home
from holdfast.node import cgroups, delegation
from holdfast.node.cgroups import CgroupPlan
from holdfast.pods import groups, pod
from holdfast.pods.limits import hold
from holdfast.spec.model import AgentSpec, Limits

PATIENCE_S = 90.0
LIMITED = Limits(memory_bytes=64 * 1024 * 1024, cpus=0.5, pids=20)


@pytest.fixture(params=["auto", "v1", "v2"])
def plan(request: pytest.FixtureRequest) -> Iterator[CgroupPlan]:
    found = cgroups.choose(f"test-{secrets.token_hex(4)}", request.param)
    if found.kind == "none":
        pytest.skip(f"no cgroups of kind {request.param} here: {found.why}")
    yield found
    until(lambda: _closed(found))


def _closed(plan: CgroupPlan) -> bool:
    for directory in _all_dirs(plan):
        for pid in (directory / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    groups.close(plan)
    return not any(root.exists() for root in _roots(plan))


def _roots(plan: CgroupPlan) -> list[Path]:
    return ([plan.v2_root] if plan.v2_root else []) + list(plan.v1_roots.values())


def _all_dirs(plan: CgroupPlan) -> list[Path]:
    return [each for root in _roots(plan) if root.exists() for each in root.iterdir() if each.is_dir()]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def run_inside(made: groups.Groups, program: str) -> subprocess.Popen[bytes]:
    """A Python program that joins the pod first."""
    dirs = [str(each) for each in ([made.v2] if made.v2 else []) + list(made.v1)]
    join = f"import os\nfor d in {dirs!r}: open(d + '/cgroup.procs', 'w').write('0')\n"
    return subprocess.Popen([sys.executable, "-S", "-c", join + program], stdout=subprocess.PIPE)


def test_a_pod_is_made_with_its_limits_and_removed_when_empty(plan: CgroupPlan) -> None:
    holding = hold(LIMITED, plan, 1000)
    made = groups.make(plan, "a", 1, holding.settings)
    assert made.failed == {}
    for setting in holding.settings:
        file = (
            (plan.v2_root or Path()) if setting.controller in plan.v2_controllers else plan.v1_roots[setting.controller]
        )
        read = (file / "a.1" / setting.file).read_text().split()
        assert read == setting.value.split()
    child = run_inside(made, "print(1, flush=True); import time; time.sleep(600)")
    assert child.stdout is not None
    child.stdout.readline()
    assert not groups.remove(plan, "a", 1)
    child.kill()
    child.wait()
    child.stdout.close()
    until(lambda: groups.remove(plan, "a", 1))
    assert _all_dirs(plan) == []


def test_processes_beyond_the_limit_are_refused(plan: CgroupPlan) -> None:
    if "pids" not in plan.controllers:
        pytest.skip("no pids controller here")
    made = groups.make(plan, "a", 1, hold(Limits(pids=5), plan, 1000).settings)
    program = (
        "import time\nn = 0\ntry:\n"
        "  while n < 50:\n"
        "    if os.fork() == 0: time.sleep(600)\n"
        "    n += 1\n"
        "except OSError as error: print(n, error.errno, flush=True)\n"
    )
    child = run_inside(made, program)
    assert child.stdout is not None
    assert child.stdout.readline().split() == [b"4", str(errno.EAGAIN).encode()]
    child.stdout.close()
    child.wait()


def test_memory_beyond_the_limit_kills_the_pod_and_nobody_else(plan: CgroupPlan) -> None:
    if "memory" not in plan.controllers:
        pytest.skip("no memory controller here")
    made = groups.make(plan, "a", 1, hold(Limits(memory_bytes=32 << 20), plan, 1000).settings)
    child = run_inside(made, "keep = [bytearray(os.urandom(1 << 20)) for _ in range(400)]")
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(PATIENCE_S) == -signal.SIGKILL


def test_recreating_uses_the_next_directory_and_tidying_takes_the_old_one(plan: CgroupPlan, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    user = str(os.geteuid())
    spec = AgentSpec(name="a", command=("cat",), working_dir="/", user=user, limits=LIMITED)
    identity = pod.identify(spec, home)
    first, facts = pod.build(spec, home, plan, 1, identity)
    assert [each.name for each in facts.limits if each.held] == [
        name for name, controller in (("memory", "memory"), ("cpus", "cpu"), ("pids", "pids"))
        if controller in plan.controllers
    ]  # fmt: skip
    second, _ = pod.recreate(spec, home, plan, 1, identity)
    for before, after in zip([first.cgroup_v2, *first.cgroup_v1], [second.cgroup_v2, *second.cgroup_v1], strict=True):
        assert (before is None and after is None) or str(after) == str(before).removesuffix(".1") + ".2"
    assert pod.tidy(home, plan, {"a": 2}, ["a"]) == []
    assert {each.name for each in _all_dirs(plan)} == {"a.2"}
    assert pod.remove(home, plan, "a")
    assert _all_dirs(plan) == []


def test_processes_are_moved_to_a_leaf_where_a_controller_demands_it() -> None:
    """The rule of v2 that an inner cgroup holds no processes, with whatever controller v2 has here."""
    view = cgroups.look()
    base = cgroups.v2_base(view, os.geteuid() == 0)
    if base is None or not os.access(base, os.W_OK):
        pytest.skip("no v2 hierarchy that may be written")
    offered = (base / "cgroup.controllers").read_text().split()
    if not offered:
        pytest.skip("v2 has no controller here")
    before = (base / "cgroup.subtree_control").read_text().split()
    controller = offered[0]
    middle = base / f"holdfast-test-{secrets.token_hex(4)}"
    inner = middle / "holdfast-x"
    child = subprocess.Popen(["sleep", "600"])
    try:
        if controller not in before:
            try:
                (base / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as error:
                pytest.skip(f"{controller} cannot be switched on here: {error.strerror}")
        inner.mkdir(parents=True)
        (middle / "cgroup.procs").write_text(str(child.pid))
        held, why = delegation.enable(middle, inner, [controller])
        assert held == {controller}, why
        assert (middle / delegation.LEAF / "cgroup.procs").read_text().split() == [str(child.pid)]
        assert (middle / "cgroup.procs").read_text() == ""
    finally:
        child.kill()
        child.wait()
        for each in (inner, middle / delegation.LEAF, middle):
            until(lambda each=each: _rmdir(each))  # type: ignore[misc]
        if controller not in before:
            (base / "cgroup.subtree_control").write_text(f"-{controller}")


def _rmdir(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
