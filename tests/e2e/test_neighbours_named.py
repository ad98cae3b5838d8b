"""Who takes what agents suffer for is named: real processes on a machine whose pressure is feigned."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.test_node_incidents import SERVER
from tests.harness.init_home import wait_until
from tests.harness.ports import free_port
from tests.harness.quick_keeper import QuickHome

BURN = "while True: pass"


@pytest.fixture
def home() -> Iterator[QuickHome]:
    made = QuickHome(
        NODE_CONFIRM_S=0.2, NODE_LOOK_S=0.1, NODE_IDLE_LOOK_S=0.2, NEIGHBOUR_EVERY_S=0.5, NEIGHBOUR_KEPT_S=0.5,
        NEIGHBOUR_SHARE=0.01, NEIGHBOURS_NAMED=100,
    )  # fmt: skip
    try:
        yield made
    finally:
        made.close()


def test_an_agent_and_a_stranger_that_take_the_cores_are_named_while_the_machine_is_short(home: QuickHome) -> None:
    port = str(free_port())
    bad = home.directory / "bad"
    server = (sys.executable, "-S", "-c", SERVER, port, str(bad))
    health = {"http": {"url": f"http://127.0.0.1:{port}/"}, "interval_s": 0.2, "timeout_s": 5.0}
    home.up(home.spec("burner", sys.executable, "-S", "-c", BURN), home.spec("calm", *server, health=health))
    home.wait_row("burner", phase="healthy")
    home.wait_row("calm", phase="healthy")
    assert home.status()["node"]["neighbours"] == []
    with subprocess.Popen([sys.executable, "-S", "-c", BURN]) as stranger:
        try:
            home.is_like(starved="feigned pressure", short_of=["cpu"])
            bad.touch()  # somebody suffers

            def named() -> list[str]:
                found: list[str] = home.status()["node"]["neighbours"]
                both = any("agent burner" in one for one in found) and any("agent" not in one for one in found)
                return found if both else []

            words = wait_until(named, "the agent's name, and the stranger's by its unit or program")
        finally:
            stranger.kill()
    assert any(" cores" in one and "agent burner" in one for one in words)

    def warned() -> bool:
        return any(one["code"] == "HF4030" and "agent burner" in one["message"] for one in home.status()["warnings"])

    def told() -> bool:
        kinds = [event for event in home.events() if event["kind"] == "node.neighbours"]
        return any("burner" in event["body"]["agents"] for event in kinds)

    wait_until(warned, "the warning")
    wait_until(told, "who burns stands in the ledger")
    bad.unlink()
    home.is_like(starved="")
    wait_until(lambda: home.status()["node"]["neighbours"] == [], "no names on a machine that has enough")
