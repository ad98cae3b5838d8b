"""Real agents whose memory grows: restarted before the limit when it can be foreseen, told with numbers when not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.node import cgroups
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import Row
from tests.harness.quick_keeper import QuickHome

MB = 1_000_000
LEAKER = """
import os, sys, time
if not os.environ["HOLDFAST_INSTANCE"].endswith(":1"):
    time.sleep(1000)  # a second life is a calm one
rate = int(sys.argv[1])
held = []
while True:
    held.append(bytearray(os.urandom(rate // 10)))
    if os.path.exists(sys.argv[2]):
        os.unlink(sys.argv[2])
        held.append(b"x" * 400_000_000)
    time.sleep(0.1)
"""


@pytest.fixture
def home() -> Iterator[QuickHome]:
    made = QuickHome(MEMORY_EVERY_S=0.25, LEAK_RUSH_SPAN_S=2.0, LEAK_RUSH_LAST_S=30.0)
    try:
        yield made
    finally:
        made.close()


def leaker(home: QuickHome, rate: int, limit: int, trap: Path) -> Row:
    command = (sys.executable, "-S", "-c", LEAKER, str(rate), str(trap))
    stop = {"grace_s": 1.0, "hung_grace_s": 1.0}
    told = {"memory_warn": 0.1, "memory_alarm": 0.15}
    return home.spec("leaker", *command, limits={"memory_bytes": limit}, stop=stop, resources=told)


def test_a_leak_is_restarted_before_the_limit_planned_and_announced(home: QuickHome) -> None:
    home.up(leaker(home, 12 * MB, 400 * MB, home.directory / "trap"))  # 30 s to see it
    home.wait_row("leaker", phase="healthy", instance=2)
    row = home.row("leaker")
    assert (row["restarts"], home.incidents()) == (0, [])  # nobody died, nothing was healed
    events = home.events(agent="leaker")
    told = next(event for event in events if event["kind"] == "density.leak")
    assert told["body"]["limit_bytes"] == 400 * MB
    assert 0 < told["body"]["used_bytes"] < 400 * MB
    assert told["body"]["slope_bytes_s"] > MB
    assert "growing" in told["text"]
    restart = next(event for event in events if event["kind"] == "agent.restart")
    assert restart["seq"] > told["seq"]
    assert "its memory leaks" in restart["text"]


def test_a_death_for_memory_is_told_with_numbers(home: QuickHome) -> None:
    trap = home.directory / "trap"
    home.bound(LEAK_RUSH_SPAN_S=600.0)  # or it might be restarted in the middle of its last jump
    home.up(leaker(home, 3 * MB, 200 * MB, trap))
    row = home.wait_row("leaker", usage=lambda usage: usage and (usage["memory_bytes"] or 0) > 12 * MB)
    if "memory" not in cgroups.choose(home.home.home_id()).controllers:
        pytest.skip("no memory cgroup may be used here by this user: nobody is killed at its limit")
    trap.write_text("")
    home.wait_row("leaker", instance=lambda number: number > row["instance"])
    incident = wait_until(lambda: [one for one in home.incidents() if one["likely"]], "a verdict")[0]
    assert "reached its memory limit (200 MB limit, " in incident["likely"]
    deaths = home.client.get("/v1/agents/leaker")["deaths"]
    assert deaths[0]["exit"].startswith("killed for memory: 200 MB limit, ")
