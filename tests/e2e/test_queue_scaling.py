"""Replicas that follow a reported queue depth, with the real keeper and real agents."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome, Row
from tests.harness.quick_keeper import QuickHome


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = QuickHome(REPLICAS_UP_S=0.5, REPLICAS_DOWN_S=1.0, REPLICAS_LOOK_S=0.2)
    try:
        yield made
    finally:
        made.close()


def crew(home: KeeperHome, most: int, least: int = 1) -> list[Row]:
    return [
        home.spec(
            f"crew-{number}", "/bin/sleep", "1000",
            memory={"start_bytes": 10_000_000},
            scaling={"group": "crew", "number": number, "least": least, "most": most, "per_queue_depth": 10.0},
        )
        for number in range(1, most + 1)
    ]  # fmt: skip


def report(home: KeeperHome, depth: float) -> Row:
    told: Row = home.client.put("/v1/queues/crew", json.dumps({"depth": depth}).encode())
    return told


def phases(home: KeeperHome) -> list[str]:
    return [row["phase"] for row in home.status()["agents"]]


def scaled(home: KeeperHome) -> list[dict[str, Any]]:
    return [event["body"] for event in home.events() if event["kind"] == "density.scaled"]


def test_replicas_follow_the_queue_up_and_down_and_each_decision_is_in_the_ledger(home: KeeperHome) -> None:
    home.up(*crew(home, 3))
    home.wait_row("crew-1", phase="healthy")
    wait_until(lambda: phases(home) == ["healthy", "spare", "spare"], "replicas beyond the least begin as spare")
    shown = report(home, 25)
    assert (shown["depth"], shown["wished"], shown["least"], shown["most"]) == (25, 3, 1, 3)
    wait_until(lambda: phases(home) == ["healthy"] * 3, "all replicas")
    report(home, 3)
    wait_until(lambda: phases(home) == ["healthy", "spare", "spare"], "one replica")
    assert home.row("crew-1")["instance"] == 1
    assert [(body["before"], body["after"], body["wished"], body["agents"]) for body in scaled(home)] == [
        (1, 2, 3, ["crew-2"]),  # at most twice as many in one step
        (2, 3, 3, ["crew-3"]),
        (3, 1, 1, ["crew-2", "crew-3"]),
    ]
    assert [body["depth"] for body in scaled(home)] == [25, 25, 3]
    assert home.incidents() == []


def test_keeper_deaths_and_persons_are_not_taken_for_a_queue(home: KeeperHome) -> None:
    home.up(*crew(home, 3))
    home.wait_row("crew-1", phase="healthy")
    home.client.post("/v1/agents/crew-2/start", {})  # a person needs no queue
    home.wait_row("crew-2", phase="healthy")
    os.kill(home.process("keeper")["pid"], signal.SIGKILL)
    wait_until(lambda: phases(home) == ["healthy", "healthy", "spare"], "the same replicas with the next keeper")
    assert home.row("crew-2")["instance"] == 1
    report(home, 20)
    home.client.post("/v1/agents/crew-1/stop", {"wait": True})
    home.wait_row("crew-3", phase="healthy")  # in its place
    assert home.row("crew-1")["phase"] == "stopped"
    with pytest.raises(HoldfastError, match="no agent nobody follows a queue"):
        home.client.put("/v1/queues/nobody", b'{"depth": 1}')
    with pytest.raises(HoldfastError, match="expected a number from 0"):
        home.client.put("/v1/queues/crew", b'{"depth": -1}')


TELLER = """
import os, socket, sys, time
link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
link.connect(os.environ["NOTIFY_SOCKET"])
for text in ("X_QUEUE=much", "X_QUEUE=-1", "X_QUEUE=nan", "X_QUEUE=20"):
    link.send(text.encode())
time.sleep(1000)
"""


def test_a_replica_tells_with_its_beats_how_much_work_waits(home: KeeperHome) -> None:
    rows = crew(home, 2)
    rows[0]["command"] = [sys.executable, "-S", "-c", TELLER]
    home.up(*rows)
    home.wait_row("crew-2", phase="healthy")
    assert scaled(home)[0]["depth"] == 20


def test_who_follows_no_queue_any_more_runs_as_any_other(home: KeeperHome) -> None:
    rows = crew(home, 2)
    home.up(*rows)
    home.wait_row("crew-2", phase="spare")
    home.put(*({key: value for key, value in row.items() if key != "scaling"} for row in rows))
    home.wait_row("crew-2", phase="healthy")
