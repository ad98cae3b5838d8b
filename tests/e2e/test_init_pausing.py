"""Whoever pauses an agent may die: init lets it go on. And the whole tree of one that stands still can be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.init import procfs
from tests.harness.init_home import InitHome, can_make_v2_groups, running_init, v1_freezer, wait_until

MB = 1024 * 1024
# Prints all the time; takes memory without end once the file is there.
RUNAWAY = """
import os, sys, time
held = []
while True:
    print(".", end="", flush=True)
    time.sleep(0.01)
    while os.path.exists(sys.argv[1]):
        held.append(b"x" * (1 << 20))
"""
NODE = 192 * MB
COUNTING = "import time\nwhile True: time.sleep(0.01); print('.', end='', flush=True)"
FORKING = f"import os\nos.fork(); os.fork()\n{COUNTING}"


@pytest.fixture
def home() -> Iterator[InitHome]:
    with running_init() as started:
        yield started


@pytest.fixture(params=["none", "v2", "v1"])
def place(request: pytest.FixtureRequest, home: InitHome) -> dict[str, Any]:
    """Each way of standing a tree still."""
    if request.param == "v2":
        if not can_make_v2_groups():
            pytest.skip("no v2 cgroup may be made here by this user")
        return {"cgroup_v2": home.group("a")}
    if request.param == "v1":
        freezer = v1_freezer()
        if freezer is None:
            pytest.skip("no v1 freezer may be used here by this user")
        path = freezer / f"hf-test-{home.directory.name}"
        path.mkdir(exist_ok=True)
        home.groups.append(path)
        return {"cgroup_v1": [str(path)]}
    return {}


def freeze(home: InitHome, place: dict[str, Any]) -> None:
    if "cgroup_v2" in place:
        Path(place["cgroup_v2"], "cgroup.freeze").write_text("1")
    elif "cgroup_v1" in place:
        Path(place["cgroup_v1"][0], "freezer.state").write_text("FROZEN")
    else:
        for pids in home.instances().values():
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)


def counting(home: InitHome, **more: Any) -> Callable[[], bool]:
    """Start an agent that prints all the time; the answer says whether it has printed since it was asked last."""
    home.launch("a", sys.executable, "-S", "-c", COUNTING, **more)
    wait_until(lambda: home.output("a"), "it prints")
    seen = 0

    def has_gone_on() -> bool:
        nonlocal seen
        before, seen = seen, len(home.output("a"))
        return 0 < before < seen

    return has_gone_on


def stands(has_gone_on: Callable[[], bool]) -> None:
    def still() -> bool:
        has_gone_on()
        time.sleep(0.3)  # a running one prints every 0.01 s
        return not has_gone_on()

    wait_until(still, "it stands still")


def init_pid(home: InitHome) -> int:
    return int(home.state["init"]["pid"])


def test_a_paused_agent_goes_on_at_its_time_though_the_keeper_says_nothing(
    home: InitHome, place: dict[str, Any]
) -> None:
    has_gone_on = counting(home, **place)
    home.ask(op="pause", agent="a", until_mono=time.monotonic() + 600.0)
    freeze(home, place)
    stands(has_gone_on)
    home.ask(op="pause", agent="a", until_mono=time.monotonic())
    told = home.wait(ev="freed")
    assert (told["names"], told["why"]) == (["a"], "time")
    wait_until(has_gone_on, "it goes on")


def test_one_that_was_stopped_by_signals_goes_on_though_a_freezer_tells_that_nothing_stands(
    home: InitHome, place: dict[str, Any]
) -> None:
    has_gone_on = counting(home, **place)
    home.ask(op="pause", agent="a", until_mono=time.monotonic() + 600.0)
    freeze(home, {})
    stands(has_gone_on)
    home.ask(op="pause", agent="a", until_mono=time.monotonic())
    assert home.wait(ev="freed")["names"] == ["a"]
    wait_until(has_gone_on, "it goes on")


def test_a_keeper_that_only_comes_back_keeps_nobody_paused_nor_does_the_death_of_init(home: InitHome) -> None:
    has_gone_on = counting(home)
    home.ask(op="steer")
    home.ask(op="pause", agent="a", until_mono=None)
    freeze(home, {})
    stands(has_gone_on)
    for _ in range(3):
        home.hello()
    os.kill(init_pid(home), signal.SIGKILL)
    home.hello()
    told = home.wait(ev="freed")
    assert (told["names"], told["why"]) == (["a"], "keeper")
    wait_until(has_gone_on, "it goes on")


def was_freed(home: InitHome) -> bool:
    """Told to us, and acknowledged, so that it is not told again."""
    peer = home.peer
    assert peer is not None
    home.ask(op="beat")
    freed = [event for event in peer.events if event["ev"] == "freed"]
    for event in freed:
        peer.events.remove(event)
        home.ask(op="ack", seq=event["seq"])
    return bool(freed)


def test_a_keeper_that_steers_keeps_what_a_former_one_paused(home: InitHome) -> None:
    has_gone_on = counting(home)
    for _ in range(10):
        home.ask(op="pause", agent="a", until_mono=None)
        freeze(home, {})
        home.hello()
        home.ask(op="steer")
        os.kill(init_pid(home), signal.SIGKILL)
        home.hello()
        home.ask(op="steer")
        if not was_freed(home):
            break  # else we were slower than init waits for a keeper that steers
    stands(has_gone_on)
    home.ask(op="stop", agent="a", grace_s=60.0)
    assert home.wait(ev="exited", agent="a")["status"] == {"signal": signal.SIGTERM}


def test_a_whole_tree_that_stands_still_is_killed(home: InitHome, place: dict[str, Any]) -> None:
    born = home.launch("a", sys.executable, "-S", "-c", FORKING, permit={"delays_s": [0.0]}, **place)
    wait_until(lambda: len(home.instances().get(("a", 1), [])) == 4, "all are born")
    home.ask(op="pause", agent="a", until_mono=time.monotonic() + 600.0)
    freeze(home, place)
    assert home.ask(op="kill", agent="a", instance=0, cause="of an earlier one")["state"] == "up"
    assert procfs.is_running(born["pid"], born["starttime"])
    for _ in range(2):
        home.ask(op="kill", agent="a", instance=1, cause="memory")
    died = home.wait(ev="exited", agent="a")
    assert (died["status"], died["expected"]) == ({"signal": 9}, True)
    assert home.wait(ev="down", agent="a")["reason"] == "stopped"
    assert not home.instances()
    home.ask(op="start", agent="a")
    second = home.wait(ev="spawned", agent="a")
    wait_until(lambda: len(home.instances().get(("a", 2), [])) == 4, "its successor is not frozen")
    assert second["epoch"] == 2


def test_ending_holdfast_leaves_nobody_paused(home: InitHome) -> None:
    has_gone_on = counting(home)
    home.ask(op="pause", agent="a", until_mono=None)
    freeze(home, {})
    home.ask(op="steer")
    stands(has_gone_on)
    home.ask(op="shutdown", keep_agents=True)
    wait_until(has_gone_on, "it goes on")


# --- memory groups ---------------------------------------------------------------------------------------------------
@pytest.fixture
def memory(home: InitHome) -> dict[str, Any]:
    """Tracked in v2, held in v1, as on a machine that mounts both."""
    base = Path("/sys/fs/cgroup/memory")
    if not can_make_v2_groups() or not (base / "memory.limit_in_bytes").exists() or not os.access(base, os.W_OK):
        pytest.skip("no v1 memory cgroup beside v2 may be made here by this user")
    path = base / f"hf-test-{home.directory.name}"
    path.mkdir()
    home.groups.append(path)
    return {"cgroup_v2": home.group("a"), "cgroup_v1_late": [str(path)]}


def all_inside(home: InitHome, path: str) -> bool:
    living = {pid for pids in home.instances().values() for pid in pids}
    return len(living) > 0 and living <= {int(pid) for pid in Path(path, "cgroup.procs").read_text().split()}


def test_all_of_a_tree_is_brought_into_its_memory_group(home: InitHome, memory: dict[str, Any]) -> None:
    (late,) = memory["cgroup_v1_late"]
    home.launch("a", sys.executable, "-S", "-c", FORKING, cgroup_v2=memory["cgroup_v2"])
    wait_until(lambda: len(home.instances().get(("a", 1), [])) == 4, "all are born")
    assert not all_inside(home, late)
    home.define("a", sys.executable, "-S", "-c", FORKING, **memory)
    wait_until(lambda: all_inside(home, late), "a running one is brought in when its definition says so")
    home.ask(op="restart", agent="a", grace_s=60.0)
    wait_until(
        lambda: len(home.instances().get(("a", 2), [])) == 4 and all_inside(home, late), "its successor is inside"
    )


@pytest.fixture
def node(home: InitHome) -> Iterator[Path]:
    """A group of v1 that is the node, of 192 MB, for all agents."""
    base = Path("/sys/fs/cgroup/memory")
    if not can_make_v2_groups() or not (base / "memory.limit_in_bytes").exists() or not os.access(base, os.W_OK):
        pytest.skip("no v1 memory cgroup beside v2 may be made here by this user")
    path = base / f"hf-test-{home.directory.name}"
    path.mkdir()
    (path / "memory.use_hierarchy").write_text("1")
    (path / "memory.limit_in_bytes").write_text(str(NODE))
    yield path
    home.destroy()

    def removed() -> bool:
        with contextlib.suppress(OSError):
            path.rmdir()
        return not path.exists()

    wait_until(removed, "the group of the node is gone")


def held(home: InitHome, node: Path, name: str, ceiling: int | None, oom_score_adj: int, go: Path) -> Path:
    """An agent in a memory group of its own, held there at `ceiling` as a keeper does."""
    tracked, group = home.group(name), node / name
    group.mkdir()
    home.groups.append(group)
    place: dict[str, Any] = {"cgroup_v2": tracked, "cgroup_v1_late": [str(group)], "oom_score_adj": oom_score_adj}
    home.launch(name, sys.executable, "-I", "-S", "-c", RUNAWAY, str(go), **place)
    wait_until(lambda: all_of(home, name, group), f"{name} is inside")
    if ceiling is not None:
        (group / "memory.limit_in_bytes").write_text(str(ceiling))
        (group / "memory.oom_control").write_text("1")
    return group


def all_of(home: InitHome, name: str, group: Path) -> bool:
    living = set(home.instances().get((name, 1), []))
    return len(living) > 0 and living <= {int(pid) for pid in (group / "cgroup.procs").read_text().split()}


def prints_on(home: InitHome, name: str) -> None:
    before = len(home.output(name))
    wait_until(lambda: len(home.output(name)) > before, f"{name} goes on")


def number(path: Path) -> int:
    return int(path.read_text())


def word(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.split()[0] == name)


def test_without_a_keeper_one_that_runs_away_dies_in_its_own_group_and_takes_not_all_of_the_node(
    home: InitHome, node: Path
) -> None:
    go, never = home.directory / "go", home.directory / "never"
    top = held(home, node, "top", None, 100, never)
    calm = held(home, node, "calm", 24 * MB, 100, never)
    wild = held(home, node, "wild", 24 * MB, 300, go)
    home.ask(op="steer")
    go.touch()
    wait_until(lambda: word(wild / "memory.oom_control", "under_oom"), "it stands at its ceiling")
    home.hello()  # and never steers
    told = home.wait(ev="freed", why="keeper")
    assert (told["names"], sorted(told["raised"]), told["ceilings"]) == ([], ["calm", "wild"], [])
    assert home.wait(ev="exited", agent="wild")["status"] == {"signal": signal.SIGKILL}
    assert word(wild / "memory.oom_control", "oom_kill") == 1
    assert number(node / "memory.max_usage_in_bytes") < NODE
    assert word(calm / "memory.oom_control", "oom_kill_disable") == 0
    assert 24 * MB < number(calm / "memory.limit_in_bytes") < NODE
    for name, group in (("top", top), ("calm", calm)):
        prints_on(home, name)
        assert all_of(home, name, group)


def test_without_a_keeper_whoever_stood_at_its_ceiling_goes_on_where_there_is_room(home: InitHome, node: Path) -> None:
    go = home.directory / "go"
    group = held(home, node, "a", 24 * MB, 300, go)
    home.ask(op="steer")
    go.touch()
    wait_until(lambda: word(group / "memory.oom_control", "under_oom"), "it stands at its ceiling")
    go.unlink()
    home.hello()
    prints_on(home, "a")
    assert word(group / "memory.oom_control", "oom_kill") == 0
    home.ask(op="shutdown", keep_agents=True)
    wait_until(lambda: number(group / "memory.limit_in_bytes") > NODE, "nothing is left of it when all ends")
