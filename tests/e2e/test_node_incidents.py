"""One cause on the machine is one incident, and nobody is restarted for it: real processes, feigned senses."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import feigned_node
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome, Row
from tests.harness.ports import free_port

COUNT = 6
# Each answers on a port of its own, and badly while one of its files is there.
SERVER = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    conn, _ = listener.accept()
    conn.settimeout(60)
    try:
        conn.recv(4096)
        bad = any(os.path.exists(one) for one in sys.argv[2:])
        body = b"bad" if bad else b"ok"
        status = b"503 Unavailable" if bad else b"200 OK"
        head = b"HTTP/1.1 %s\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n" % (status, len(body))
        conn.sendall(head + body)
    except OSError:
        pass
    conn.close()
"""
SHORT = {
    "NODE_CALM_S": 0.5, "NODE_CONFIRM_S": 0.2, "NODE_ALERT_S": 1.0, "NODE_LOOK_S": 0.1, "NODE_IDLE_LOOK_S": 0.2,
    "LOOK_EVERY_S": 0.3, "AWAY_GRACE_S": 300.0, "TOGETHER_CALM_S": 0.5, "TOGETHER_PATIENCE_S": 600.0,
}  # fmt: skip


class Machine:
    """A home with COUNT agents on a machine that is as the test says."""

    def __init__(self) -> None:
        self.home = KeeperHome()
        services = json.loads(self.home.home.services.read_text())
        argv = [sys.executable, "-P", str(feigned_node.__file__), "--home", str(self.home.home.path)]
        services["keeper"]["argv"] = argv
        self.home.home.services.write_text(json.dumps(services))
        self.feigned = self.home.home.path / "feigned.json"
        self.told, self.all_bad = self.home.directory / "told", self.home.directory / "bad"
        self.ports = [free_port() for _ in range(COUNT)]
        self.is_like(starved="")

    def is_like(self, **how: Any) -> None:
        trial = self.feigned.with_suffix(".new")
        trial.write_text(json.dumps({"limits": SHORT, "starved": "", **how}))
        trial.rename(self.feigned)

    def up(self) -> None:
        channel = {"command": ["/bin/sh", "-c", f"cat >> {self.told}; echo >> {self.told}"]}
        self.home.up(*(self.agent(n) for n in range(COUNT)), alerts=[channel])
        for n in range(COUNT):
            self.home.wait_row(f"a{n}", phase="healthy")

    def agent(self, n: int) -> Row:
        port = self.ports[n]
        # So patient that on a slow machine too enough of them fail before the first would be restarted.
        health = {"http": {"url": f"http://127.0.0.1:{port}/"}, "interval_s": 0.2, "timeout_s": 20.0, "retries": 15}
        files = (str(self.bad(n)), str(self.all_bad))
        return self.home.spec(f"a{n}", sys.executable, "-S", "-c", SERVER, str(port), *files, health=health)

    def bad(self, n: int) -> Path:
        return self.home.directory / f"bad{n}"

    def all_fail(self, on: bool = True) -> None:
        """All at the same moment."""
        if on:
            self.all_bad.touch()
            return
        for path in (self.all_bad, *(self.bad(n) for n in range(COUNT))):
            path.unlink(missing_ok=True)

    def node_incident(self, **match: Any) -> Row:
        def look() -> Row | None:
            for row in self.home.incidents():
                if row["node"] and all(row[key] == value for key, value in match.items()):
                    return row
            return None

        found: Row = wait_until(look, f"an incident of the machine with {match}")
        return found

    def check_nobody_was_touched(self) -> None:
        assert [row["instance"] for row in self.home.status()["agents"]] == [1] * COUNT
        assert [row for row in self.home.incidents() if row["agent"]] == []

    def alerts(self) -> list[Row]:
        return [json.loads(line) for line in self.told.read_text().splitlines() if line] if self.told.exists() else []


def kinds(machine: Machine) -> set[str]:
    return {event["kind"] for event in machine.home.events()}


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    try:
        yield made
    finally:
        made.home.close()


def test_many_that_fail_alike_are_one_incident_one_alert_and_no_restart(machine: Machine) -> None:
    machine.up()
    machine.all_fail()
    names = [f"a{n}" for n in range(COUNT)]
    incident = machine.node_incident(agents=names)
    assert incident["node"] == "together:failing"
    wait_until(lambda: any(event["kind"] == "alert.done" for event in machine.home.events()), "the alert got through")
    keeper = machine.home.process("keeper")["pid"]
    os.kill(keeper, signal.SIGKILL)
    machine.home.wait_back("keeper", keeper)
    machine.check_nobody_was_touched()
    machine.all_fail(False)
    machine.node_incident(id=incident["id"], outcome="recovered")
    machine.check_nobody_was_touched()
    assert [(alert["agent"], alert["incident"]) for alert in machine.alerts()] == [("", incident["id"])]
    wait_until(lambda: machine.node_incident()["postmortem"], "a post-mortem")
    text = Path(machine.node_incident()["postmortem"]).read_text()
    assert all(name in text for name in names)


def test_on_a_starved_machine_the_machine_is_reported_and_a_dead_process_still_comes_back(machine: Machine) -> None:
    machine.up()
    machine.is_like(starved="feigned pressure")
    machine.all_fail()
    incident = machine.node_incident(node="starved")
    assert "feigned pressure" in incident["cause"]
    os.kill(machine.home.row("a0")["pid"], signal.SIGKILL)
    machine.home.wait_row("a0", instance=2)
    assert [row["instance"] for row in machine.home.status()["agents"]] == [2] + [1] * (COUNT - 1)
    assert machine.home.status()["node"]["starved"]


def test_a_full_disk_is_named_with_those_who_live_on_it(machine: Machine) -> None:
    machine.up()
    machine.is_like(full=True)
    machine.node_incident()  # seen before anybody fails for it
    machine.all_fail()
    incident = machine.node_incident(agents=[f"a{n}" for n in range(COUNT)])
    assert incident["node"].startswith("disk:/")
    machine.check_nobody_was_touched()
    wait_until(lambda: machine.home.status()["node"]["held_back"] == COUNT, "all are held back")
    wait_until(lambda: "resource.alarm" in kinds(machine), "the alarm")
    machine.all_fail(False)
    machine.is_like()
    machine.node_incident(outcome="recovered")
    machine.check_nobody_was_touched()
    wait_until(lambda: machine.home.status()["node"]["held_back"] == 0, "nobody is held back")
    wait_until(lambda: "resource.well" in kinds(machine), "the end of the alarm")


def test_a_machine_that_slept_and_a_clock_that_jumped_touch_nobody(machine: Machine) -> None:
    machine.up()
    machine.is_like(slept_s=7300.0)
    said = wait_until(lambda: [event for event in machine.home.events() if event["kind"] == "node.away"], "the gap")
    assert said[0]["text"] == "the machine slept for 2 h: nobody is judged for it"
    machine.is_like(slept_s=7300.0, jumped_s=-86_400.0)
    wait_until(lambda: len([e for e in machine.home.events() if e["kind"] == "node.away"]) >= 2, "the jump")
    for n in range(2):
        machine.bad(n).touch()
    wait_until(lambda: machine.home.status()["node"]["held_back"] == 2, "those who fail now are held back")
    machine.all_fail(False)
    machine.home.wait_row("a0", health=lambda levels: levels["endpoint"] == "ok")
    machine.check_nobody_was_touched()
