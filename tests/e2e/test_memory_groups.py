"""Memory groups on this machine's real cgroups, of whichever version it has, and without any: held, paused, let go."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.node import cgroups
from holdfast.pods import groups
from holdfast.pods.memory_attach import attach
from holdfast.pods.memory_bare import MemoryBare
from holdfast.pods.memory_group import MemoryGroup
from holdfast.pods.memory_v1 import MemoryV1
from holdfast.pods.pausing import FreezeV2

MB = 1024 * 1024
PATIENCE_S = 90.0
# Takes as many MB as each line says, and answers.
HUNGRY = """
import sys
held = []
for line in sys.stdin:
    held.append(bytearray(b"x") * (int(line) << 20))
    print("taken", flush=True)
"""


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Hungry:
    """A process that takes memory when it is told to."""

    def __init__(self, directories: list[Path]) -> None:
        def enter() -> None:
            for directory in directories:
                (directory / "cgroup.procs").write_text("0")

        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", HUNGRY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=enter if directories else None,
        )
        self.take(1)
        assert self.has_taken(PATIENCE_S)

    def take(self, mb: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{mb}\n".encode())
        self.process.stdin.flush()

    def has_taken(self, timeout_s: float = PATIENCE_S) -> bool:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], timeout_s)
        return bool(ready) and self.process.stdout.readline() == b"taken\n"

    def members(self) -> list[int]:
        return [self.process.pid]

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
            os.kill(self.process.pid, signal.SIGCONT)
        self.process.wait(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


class Place:
    """A pod's memory group and the process in it."""

    def __init__(self, plan: cgroups.CgroupPlan) -> None:
        self.v2 = plan.v2_root / "a.1" if plan.v2_root else None
        roots = [plan.v1_roots[name] for name in dict.fromkeys((plan.tracker, "memory")) if name in plan.v1_roots]
        self.v1 = [root / "a.1" for root in roots]
        for directory in self.directories():
            directory.mkdir()
        self.agent = Hungry(self.directories())
        self.memory = self.attach()

    def directories(self) -> list[Path]:
        return ([self.v2] if self.v2 else []) + self.v1

    def attach(self) -> MemoryGroup:
        return attach(self.v2, self.v1, None, self.agent.members)


@pytest.fixture
def place() -> Iterator[Place]:
    plan = cgroups.choose(f"test-{secrets.token_hex(4)}")
    if "memory" not in plan.controllers:
        groups.close(plan)
        pytest.skip(f"no memory cgroup for this user: {plan.why}")
    made = Place(plan)
    yield made
    made.memory.release()
    made.agent.end()
    made.memory.close()
    until(lambda: (groups.close(plan), not (plan.v2_root and plan.v2_root.exists()))[1])


def test_who_reaches_its_ceiling_is_held_told_and_let_go(place: Place) -> None:
    memory, agent = place.memory, place.agent
    before = memory.read()
    assert before.there
    assert before.usage_bytes >= MB
    assert before.ceiling_bytes is None
    ceiling = before.usage_bytes + 16 * MB
    assert memory.set_ceiling(ceiling) or memory.set_ceiling(ceiling)
    told = memory.read().ceiling_bytes
    assert told is not None
    assert ceiling - 4096 < told <= ceiling
    assert memory.notify_fd is not None
    poll = select.epoll()
    poll.register(memory.notify_fd, memory.notify_mask)
    agent.take(128)
    assert poll.poll(PATIENCE_S), "the kernel tells"
    memory.heard()
    until(lambda: memory.read(16 * MB).hits > 0)
    assert memory.read().kills == 0
    assert memory.set_ceiling(None)
    assert agent.has_taken()
    assert memory.read().usage_bytes >= 129 * MB
    poll.close()


def test_a_frozen_agent_stands_still_until_it_is_thawed(place: Place) -> None:
    assert place.memory.freeze()
    assert place.memory.read().frozen
    place.agent.take(1)
    assert not place.agent.has_taken(0.3)
    assert place.attach().read().frozen, "found so by whoever comes after"
    assert place.memory.thaw()
    assert place.agent.has_taken()
    assert not place.memory.read().frozen


def test_whoever_comes_after_takes_over_and_gives_back(place: Place) -> None:
    ceiling = place.memory.read().usage_bytes + 16 * MB
    assert place.memory.set_ceiling(ceiling) or place.memory.set_ceiling(ceiling)
    place.memory.freeze()
    place.memory.close()
    place.memory = place.attach()
    found = place.memory.read()
    assert found.frozen
    assert found.ceiling_bytes is not None
    assert place.memory.notify_fd is not None
    place.memory.release()
    after = place.memory.read()
    assert (after.ceiling_bytes, after.frozen) == (None, False)
    place.agent.take(64)
    assert place.agent.has_taken()


def test_a_ceiling_that_init_let_go_of_in_between_is_a_ceiling_again(place: Place) -> None:
    control = next((each / "memory.oom_control" for each in place.v1 if (each / "memory.oom_control").exists()), None)
    if control is None:
        pytest.skip("memory is counted by v2 here")
    ceiling = place.memory.read().usage_bytes + 16 * MB
    assert place.memory.set_ceiling(ceiling) or place.memory.set_ceiling(ceiling)
    control.write_text("0")
    assert place.memory.read().ceiling_bytes is not None
    place.agent.take(64)
    until(lambda: place.memory.read(16 * MB).hits > 0)
    assert place.memory.read().kills == 0


def test_a_ceiling_below_what_is_held_does_no_harm(place: Place) -> None:
    place.agent.take(64)
    assert place.agent.has_taken()
    place.memory.set_ceiling(8 * MB)
    place.memory.set_ceiling(8 * MB)
    assert place.memory.read().kills == 0
    place.memory.set_ceiling(None)
    place.agent.take(1)
    assert place.agent.has_taken()


def test_a_group_that_vanishes_is_told_and_nothing_fails(place: Place) -> None:
    used = place.memory.read().usage_bytes
    place.agent.end()
    for directory in place.directories():
        until(lambda each=directory: _removed(each))  # type: ignore[misc]
    assert place.memory.read()[:2] == (False, used)
    assert not place.memory.set_ceiling(64 * MB)
    assert not place.memory.freeze()
    place.memory.protect(MB, 0)
    place.memory.release()


def _removed(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        directory.rmdir()
    return not directory.exists()


def test_paging_out_leaves_the_agent_running(place: Place) -> None:
    place.agent.take(16)
    assert place.agent.has_taken()
    place.memory.page_out()
    place.agent.take(1)
    assert place.agent.has_taken()


def test_a_frozen_v2_group_dies_by_signal_without_a_thaw() -> None:
    plan = cgroups.choose(f"test-{secrets.token_hex(4)}")
    if plan.v2_root is None:
        groups.close(plan)
        pytest.skip(f"no v2 hierarchy for this user: {plan.why}")
    directory = plan.v2_root / "a.1"
    directory.mkdir()
    agent = Hungry([directory])
    pause = FreezeV2(directory)
    try:
        assert pause.freeze()
        until(lambda: "frozen 1" in (directory / "cgroup.events").read_text())
        os.kill(agent.process.pid, signal.SIGKILL)
        assert agent.process.wait(PATIENCE_S) == -signal.SIGKILL
    finally:
        pause.thaw()
        pause.close()
        agent.end()
        until(lambda: (groups.close(plan), not directory.exists())[1])


def test_without_cgroups_an_agent_is_weighed_and_stopped_by_signals() -> None:
    agent = Hungry([])
    memory = MemoryBare(agent.members)
    try:
        before = memory.read()
        assert before.there
        agent.take(64)
        assert agent.has_taken()
        assert 60 * MB < memory.read().usage_bytes - before.usage_bytes < 70 * MB
        assert memory.freeze()
        agent.take(1)
        assert not agent.has_taken(0.3)
        assert MemoryBare(agent.members).read().frozen, "found so by whoever comes after"
        memory.release()
        assert agent.has_taken()
        agent.process.kill()
        agent.process.wait(PATIENCE_S)
        assert not memory.read().there
    finally:
        memory.close()
        agent.end()


def test_what_was_taken_before_a_v1_group_was_entered_counts_all_the_same(place: Place) -> None:
    if not isinstance(place.memory, MemoryV1):
        pytest.skip("v2 groups are entered before anything is taken")
    agent = Hungry([])
    try:
        agent.take(40)
        assert agent.has_taken()
        for directory in place.directories():
            (directory / "cgroup.procs").write_text(str(agent.process.pid))
        place.agent.process.kill()
        place.agent.process.wait(PATIENCE_S)
        memory = attach(place.v2, place.v1, None, agent.members)
        assert 40 * MB < memory.read().usage_bytes < 60 * MB
        agent.take(20)
        assert agent.has_taken()
        assert 60 * MB < memory.read().usage_bytes < 80 * MB
        memory.close()
    finally:
        agent.end()
