"""What a real keeper held of its agents' memory, when it and init die and no other keeper can be started."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from holdfast.node import cgroups
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome

MB = 1 << 20


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = KeeperHome()
    try:
        yield made
    finally:
        made.close()


def memory_group(home: KeeperHome, agent: str) -> Path:
    plan = cgroups.choose(home.home.home_id())
    if "memory" not in plan.controllers:
        pytest.skip("no memory cgroup may be used here by this user")
    root = plan.v2_root if "memory" in plan.v2_controllers else plan.v1_roots["memory"]
    assert root is not None
    return root / f"{agent}.1"


def ceiling(group: Path) -> int | None:
    high, limit = group / "memory.high", group / "memory.limit_in_bytes"
    text = (high if high.exists() else limit).read_text().strip()
    return None if text == "max" or int(text) >= 1 << 60 else int(text)


def has_two(group: Path) -> bool:
    try:
        return len((group / "cgroup.procs").read_text().split()) == 2
    except FileNotFoundError:  # not made yet
        return False


def test_ceilings_give_way_within_seconds(home: KeeperHome) -> None:
    low, high = memory_group(home, "low"), memory_group(home, "high")
    command = ("sh", "-c", "sleep 1000 & wait")
    home.up(
        home.spec("high", *command, priority=100),
        home.spec("low", *command, priority=10, limits={"memory_bytes": 200 * MB}, memory={"start_bytes": 16 * MB}),
        node={"memory_bytes": 256 * MB, "reserve_bytes": 32 * MB},
    )
    for name, group in (("high", high), ("low", low)):
        home.wait_row(name, pid=bool)
        wait_until(partial(has_two, group), "its whole tree is in its memory group")
    wait_until(lambda: (ceiling(low) or 200 * MB) < 200 * MB, "the less important one stands below a ceiling")
    assert ceiling(high) is None, "the most important one is protected"
    pids = [home.wait_row(name, pid=bool)["pid"] for name in ("low", "high")]

    def last_of_all() -> bool:
        shares = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in pids]
        return shares[0] > shares[1]

    wait_until(last_of_all, "and the kernel takes it last")
    keeper, init = home.process("keeper")["pid"], home.process("init")["pid"]
    services = json.loads(home.home.services.read_text())
    services["keeper"]["argv"] = ["sleep", "1000"]
    home.home.services.write_text(json.dumps(services))
    os.kill(init, signal.SIGSTOP)  # or it might start a real keeper once more before it dies
    for pid in (keeper, init):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: (ceiling(low) or 200 * MB) >= 200 * MB, "its declared limit is all that holds it")
    control = low / "memory.oom_control"
    wait_until(lambda: not control.exists() or "oom_kill_disable 0" in control.read_text(), "the kernel may kill at it")
    home.hello()
    told = home.wait(ev="freed")
    assert told["raised"] == ["low"]
    assert home.state["agents"]["low"]["state"] == "up"
