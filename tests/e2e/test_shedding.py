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

MB = 1 << 20
NODE = {"memory_bytes": 256 * MB, "reserve_bytes": 32 * MB}
# Holds as many MB as its file says, and says in another when it does.
EATER = """
import os, sys, time
held = []
while True:
    try:
        want = int(open(sys.argv[1]).read() or 0)
    except OSError:
        want = 0
    while len(held) < want:
        held.append(bytearray(os.urandom(4096) * 256))
    del held[want:]
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(len(held)))
    os.replace(sys.argv[1] + ".new", sys.argv[1] + ".held")
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
        trial = self.home.directory / f"{name}.mb.trial"
        trial.write_text(str(held_mb))
        trial.replace(self.home.directory / f"{name}.mb")

    def wait_held(self, name: str, held_mb: int) -> None:
        told = self.home.directory / f"{name}.mb.held"
        wait_until(lambda: told.exists() and told.read_text() == str(held_mb), f"{name} holds {held_mb} MB")


def again(instance: int) -> bool:
    """It was started again; more than once when there was room for a moment only."""
    return instance > 1


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    try:
        yield made
    finally:
        made.home.close()


def test_a_less_important_agent_goes_for_a_more_important_one_and_comes_back_over_deaths_of_the_keeper(
    node: Node,
) -> None:
    home = node.home
    home.up(node.agent("high", 100, 20), node.agent("low", 10, 100), node=NODE)
    node.wait_held("low", 100)
    keeper = home.process("keeper")["pid"]
    node.hold("high", 170)
    home.wait_row("low", phase=lambda phase: phase in ("stopping", "shed"))
    os.kill(keeper, signal.SIGKILL)
    home.wait_back("keeper", keeper)
    # At a ceiling of v1 its writes may fail, and it ends before it is chosen: that is no failure either.
    went = ("went ", "died while it was held back")
    home.wait_row("low", phase="shed", why=lambda why: str(why).startswith(went))
    node.wait_held("high", 170)
    home.wait_row("high", ceiling_bytes=None, protected=True)  # also now that nobody is left who could give way
    assert home.row("high")["instance"] == 1

    def told() -> list[dict[str, Any]]:
        return [event for event in home.events(agent="low") if event["kind"] == "density.shed"]

    shed = wait_until(told, "it is in the ledger")[0]
    assert shed["body"].get("died") or shed["body"]["shed"]["victim"] == "low"
    node.hold("low", 20)
    node.hold("high", 20)
    home.wait_row("low", phase="healthy", instance=again)
    assert home.incidents() == []


def test_without_cgroups_the_less_important_go_as_well(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_CGROUPS", "none")
    home = node.home
    home.up(node.agent("high", 100, 20), node.agent("low", 10, 100), node=NODE)
    node.wait_held("low", 100)
    node.hold("high", 170)
    home.wait_row("low", phase="shed")
    node.wait_held("high", 170)
    assert home.row("high")["instance"] == 1
    node.hold("low", 20)
    node.hold("high", 20)
    home.wait_row("low", phase="healthy", instance=again)


def test_one_that_outgrows_the_node_alone_goes_itself_and_others_stay(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_CGROUPS", "none")  # its patience is shorter there
    home = node.home
    home.up(node.agent("high", 100, 20), node.agent("greedy", 10, 20), node=NODE)
    home.wait_row("greedy", phase="healthy")
    node.hold("greedy", 400)
    home.wait_row("greedy", phase="shed")
    assert home.row("high")["instance"] == 1
