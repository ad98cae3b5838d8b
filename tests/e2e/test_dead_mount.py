"""A file system that does not answer holds up the agent that lives on it, and nobody else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.harness import dead_mount
from tests.harness.dead_mount import DeadMount
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome

pytestmark = pytest.mark.skipif(bool(dead_mount.why_not()), reason=dead_mount.why_not() or "it can be made")
SLEEP = [sys.executable, "-c", "import time; time.sleep(1000)"]


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = KeeperHome()
    try:
        yield made
    finally:
        made.close()


def test_an_agent_on_a_dead_mount_does_not_stop_the_keeper(home: KeeperHome) -> None:
    try:
        dead = DeadMount(home.directory / "mount")
    except OSError as error:
        pytest.skip(str(error))
    try:
        stuck = home.spec("stuck", *SLEEP, working_dir=str(dead.path))
        stuck["guarded_files"] = [str(dead.path / "config")]
        home.up(stuck, home.spec("well", *SLEEP))
        first = home.wait_row("well", phase="healthy")["pid"]
        told = wait_until(
            lambda: [event for event in home.events(agent="stuck") if event["kind"] == "agent.spawn_failed"], "a reason"
        )
        assert f"its file system does not answer ({dead.path})" in told[0]["text"]
        os.kill(first, 9)
        second = home.wait_row("well", pid=lambda pid: pid and pid != first)["pid"]
        former = home.process("keeper")["pid"]
        os.kill(former, 9)  # the next keeper finds the same mount
        home.wait_back("keeper", former)
        assert home.wait_row("well", pid=second)
    finally:
        dead.close()
    home.put(home.spec("stuck", *SLEEP), home.spec("well", *SLEEP))
    home.wait_row("stuck", pid=lambda pid: pid)
