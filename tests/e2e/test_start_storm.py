"""A burst of real starts on a small node: those whose leases do not fit together follow one another."""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.harness.init_home import wait_until
from tests.harness.keeper_home import Row
from tests.harness.quick_keeper import QuickHome

MB = 1_000_000
STARTER = "import time; time.sleep(0.3); held = b'x' * 20_000_000; time.sleep(1000)"
NODE = {"memory_bytes": 400 * MB, "reserve_bytes": 100 * MB}


@pytest.fixture
def home() -> Iterator[QuickHome]:
    made = QuickHome(START_FLAT_S=0.7, QUEUE_LOOK_S=0.2)
    try:
        yield made
    finally:
        made.close()


def starter(home: QuickHome, name: str, priority: int, start_mb: int = 200) -> Row:
    return home.spec(
        name, sys.executable, "-S", "-c", STARTER, priority=priority, memory={"start_bytes": start_mb * MB}
    )


def seqs(home: QuickHome, kind: str) -> dict[str, int]:
    return {event["agent"]: event["seq"] for event in home.events() if event["kind"] == kind}


def test_starts_whose_leases_do_not_fit_together_follow_one_another_by_priority(home: QuickHome) -> None:
    order = ["first", "second", "last"]
    priorities = dict(zip(order, (90, 50, 10), strict=True))
    home.up(*(starter(home, name, priorities[name]) for name in reversed(order)), node=NODE)
    reasons = ("needs ", "waits behind second")
    row = home.wait_row("last", queued=lambda queued: queued and queued["why"].startswith(reasons))
    assert row["phase"] == "queued"
    assert row["queued"]["position"] >= 1
    for name in order:
        home.wait_row(name, phase="healthy", start_lease_bytes=None)
    spawned, settled = seqs(home, "agent.spawned"), seqs(home, "density.started")
    assert sorted(spawned, key=lambda name: spawned[name]) == order
    for before, after in itertools.pairwise(order):
        assert settled[before] < spawned[after]  # no lease was out twice


def test_what_a_start_took_is_known_to_the_next_keeper_and_a_crash_restart_does_not_queue(home: QuickHome) -> None:
    large = starter(home, "large", 90, start_mb=900)
    seen = home.spec("seen", sys.executable, "-S", "-c", STARTER)
    home.up(large, seen, node=NODE)
    home.wait_row("seen", phase="healthy", start_lease_bytes=None)
    never = "needs .* to start, and the whole node has .* for agents"
    home.wait_row("large", queued=lambda queued: queued and re.fullmatch(never, queued["why"]))

    def warned() -> bool:
        return any(one["code"] == "HF4022" and "large" in one["message"] for one in home.status()["warnings"])

    wait_until(warned, "a warning that it will never fit")
    home.bound(START_FLAT_S=30.0)  # the next keeper leaves a lease out long enough to be seen
    former = home.process("keeper")["pid"]
    os.kill(former, signal.SIGKILL)
    home.wait_back("keeper", former)
    os.kill(home.wait_row("seen", pid=bool)["pid"], signal.SIGKILL)
    row = home.wait_row("seen", instance=2, start_lease_bytes=bool)
    assert row["start_lease_bytes"] < 50 * MB  # as seen, not the 250 MB of a first start
