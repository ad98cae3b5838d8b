"""Memory of a small node in the hands of a real keeper: the less important go for the more important, and come back."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome

pytestmark = pytest.mark.timeout(120)

MB = 1 << 20
NODE = {"memory_bytes": 256 * MB, "reserve_bytes": 32 * MB}
# Holds as many MB as its file says, and says in another how often it came round.
EATER = """
import os, sys, time
held, rounds = [], 0
while True:
    try:
        want = int(open(sys.argv[1]).read() or 0)
    except OSError:
        want = 0
    while len(held) < want:
        held.append(bytearray(os.urandom(4096) * 256))
    del held[want:]
    time.sleep(0.02)
"""


class Node:
    """A home on a node of 256 MB, whose agents hold what they are told to."""

    def __init__(self) -> None:
        self.home = KeeperHome()

    def agent(self, name: str, priority: int, held_mb: int, **more: Any) -> dict[str, Any]:
        self.hold(name, held_mb)
        command = (sys.executable, "-S", "-c", EATER, str(self.home.directory / f"{name}.mb"))
        memory = {"start_bytes": 30 * MB, **more.pop("memory", {})}
        return self.home.spec(name, *command, priority=priority, memory=memory, **more)

    def hold(self, name: str, held_mb: int) -> None:
        (self.home.directory / f"{name}.mb").write_text(str(held_mb))

    def used_mb(self, name: str) -> int:
        row = self.home.row(name)
        return int(row.get("usage_bytes") or 0) // MB

    def kinds(self, name: str) -> list[str]:
        return [event["kind"] for event in self.home.events(agent=name)]


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    try:
        yield made
    finally:
        made.home.close()


def test_a_less_important_agent_goes_for_a_more_important_one_and_comes_back(node: Node) -> None:
    node.home.up(node.agent("high", 100, 20), node.agent("low", 10, 100), node=NODE)
    for name in ("high", "low"):
        node.home.wait_row(name, phase="healthy")
    wait_until(lambda: node.used_mb("low") >= 80, "low holds its memory")
    node.hold("high", 170)
    row = node.home.wait_row("low", phase="shed")
    assert "high" in row["why"]
    wait_until(lambda: node.used_mb("high") >= 150, "high has its memory")
    assert node.home.row("high")["instance"] == 1
    shed = next(event for event in node.home.events(agent="low") if event["kind"] == "density.shed")
    assert shed["body"]["shed"]["victim"] == "low"
    assert shed["body"]["shed"]["usage_bytes"] >= 80 * MB
    node.hold("low", 20)
    node.hold("high", 20)
    node.home.wait_row("low", phase="healthy", instance=2)
    assert node.home.incidents() == []


def test_a_keeper_that_dies_forgets_nobody_whom_it_shed(node: Node) -> None:
    home = node.home
    home.up(node.agent("high", 100, 20), node.agent("low", 10, 100), node=NODE)
    wait_until(lambda: node.used_mb("low") >= 80, "low holds its memory")
    keeper = home.process("keeper")["pid"]
    node.hold("high", 170)
    wait_until(lambda: node.used_mb("high") > 100, "high grows")
    os.kill(keeper, signal.SIGKILL)
    keeper = home.wait_back("keeper", keeper)
    home.wait_row("low", phase="shed")
    os.kill(keeper, signal.SIGKILL)
    keeper = home.wait_back("keeper", keeper)
    assert home.row("low")["phase"] == "shed"
    wait_until(lambda: node.used_mb("high") >= 150, "high has its memory")
    node.hold("low", 20)
    node.hold("high", 20)
    home.wait_row("low", phase="healthy", instance=2)
    assert home.row("high")["instance"] == 1


def test_without_cgroups_the_less_important_go_as_well(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_CGROUPS", "none")
    home = node.home
    home.up(node.agent("high", 100, 20), node.agent("low", 10, 100), node=NODE)
    wait_until(lambda: node.used_mb("low") >= 80, "low holds its memory")
    node.hold("high", 170)
    home.wait_row("low", phase="shed")
    wait_until(lambda: node.used_mb("high") >= 150, "high has its memory")
    assert home.row("high")["instance"] == 1
    node.hold("low", 20)
    node.hold("high", 20)
    home.wait_row("low", phase="healthy", instance=2)


def test_one_that_outgrows_the_node_alone_goes_itself_and_others_stay(node: Node) -> None:
    home = node.home
    home.up(node.agent("high", 100, 20), node.agent("greedy", 10, 20), node=NODE)
    home.wait_row("greedy", phase="healthy")
    node.hold("greedy", 400)
    home.wait_row("greedy", phase="shed")
    assert home.row("high")["instance"] == 1
    node.hold("greedy", 20)
    home.wait_row("greedy", phase="healthy", instance=2)
