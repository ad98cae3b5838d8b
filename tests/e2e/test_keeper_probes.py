"""Real HTTP agents: asked by the keeper, restarted when they hang or refuse, explained when somebody else answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from holdfast.node import processes
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome, Row
from tests.harness.ports import free_port
from tests.harness.quick_keeper import QuickHome

SERVER = """
import http.server, json, os, sys, time
while not os.path.exists(sys.argv[3]):
    time.sleep(0.02)
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        bad = os.path.exists(sys.argv[2])
        body = json.dumps({"ok": not bad}).encode()
        self.send_response(503 if bad else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = QuickHome()  # on a starved machine silence says nothing
    try:
        yield made
    finally:
        made.close()


def server(home: KeeperHome, port: int, door: str = "/", **health: object) -> Row:
    """It listens as soon as there is a file `door`. Only a silence that lasts is held against it."""
    switch = str(home.directory / "bad")
    asked = {
        "http": {"url": f"http://127.0.0.1:{port}/health", "expect": {"ok": True}},
        "interval_s": 0.2,
        "timeout_s": 20.0,
        "start_period_s": 20.0,
        **health,
    }
    return home.spec("web", sys.executable, "-c", SERVER, str(port), switch, door, health=asked)


def test_an_agent_is_healthy_when_its_endpoint_says_so(home: KeeperHome) -> None:
    door = home.directory / "door"
    home.up(server(home, free_port(), str(door), start_period_s=600.0))
    home.wait_row("web", phase="starting")
    door.touch()
    row = home.wait_row("web", phase="healthy")
    assert row["health"]["endpoint"] == "ok"
    assert row["why"].startswith("healthy for")
    assert any(event["kind"] == "ladder.gatepassed" for event in home.events(agent="web"))


def test_a_hung_agent_is_restarted_with_its_own_cause(home: KeeperHome) -> None:
    home.up(server(home, free_port(), timeout_s=2.0))
    row = home.wait_row("web", phase="healthy")
    os.kill(row["pid"], signal.SIGSTOP)
    after = home.wait_row("web", instance=2, phase="recovering")
    assert after["pid"] != row["pid"]
    incident = home.incidents()[-1]
    assert incident["cause"] == "did not answer in time"
    assert incident["caught_s"] > 0
    wait_until(lambda: home.incidents()[-1]["restored_s"] is not None, "the first good answer")


def test_a_failing_endpoint_needs_strikes_and_says_what_it_answered(home: KeeperHome) -> None:
    home.up(server(home, free_port()))
    home.wait_row("web", phase="healthy")
    (home.directory / "bad").touch()
    home.wait_row("web", instance=2)
    (home.directory / "bad").unlink()
    home.wait_row("web", phase="recovering", health=lambda levels: levels and levels["endpoint"] == "ok")
    assert home.incidents()[-1]["cause"] == "answered, but not well"


def test_a_stranger_on_the_port_is_named(home: KeeperHome) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        restart = {"backoff_s": [0.0, 0.1], "retry_s": 0.5}
        home.up({**server(home, port), "restart": restart})
        row = home.wait_row("web", phase=lambda phase: phase in ("escalated", "backoff"))
        assert row["why"]
        home.wait_row("web", phase="escalated")
        incident = home.incidents()[-1]
        path = f"/v1/incidents/{incident['id']}"
        wait_until(lambda: "Address already in use" in json.dumps(home.client.get(path)["log_lines"]), "the evidence")
    home.wait_row("web", health=lambda levels: levels and levels["endpoint"] == "ok")


IMPOSTOR = 'import time; print("started"); time.sleep(1000)'


def impostor_spec(home: KeeperHome, port: int, **health: object) -> Row:
    """An agent that does not get its port and goes on living without it."""
    return {**server(home, port, **health), "command": [sys.executable, "-c", IMPOSTOR]}


def test_a_stranger_that_answers_like_the_agent_does_not_pass_its_gate(home: KeeperHome) -> None:
    port = free_port()
    thief = subprocess.Popen([sys.executable, "-c", SERVER, str(port), str(home.directory / "never"), "/"])
    try:
        wait_until(lambda: processes.is_listened_on(port), "a stranger on the port")
        home.up(impostor_spec(home, port, start_period_s=600.0))
        held = f"port {port} is held by process {thief.pid} ("
        row = home.wait_row("web", why=lambda why: why and held in why)
        assert row["phase"] == "starting"
        assert row["health"]["endpoint"] == "failing"
        assert not any(event["kind"] == "ladder.gatepassed" for event in home.events(agent="web"))
    finally:
        thief.kill()
        thief.wait()


def test_a_start_that_fails_because_of_a_stranger_names_it_and_heals_when_it_leaves(home: KeeperHome) -> None:
    port = free_port()
    thief = subprocess.Popen([sys.executable, "-c", SERVER, str(port), str(home.directory / "never"), "/"])
    try:
        wait_until(lambda: processes.is_listened_on(port), "a stranger on the port")
        home.up({**server(home, port), "restart": {"backoff_s": [0.0, 0.1], "retry_s": 0.5}})
        held = f"port {port} is held by process {thief.pid} ("
        home.wait_row("web", why=lambda why: why and held in why, phase="escalated")
        wait_until(lambda: held in home.incidents()[-1]["cause"], "the incident names the stranger")

        def told(of: str) -> bool:
            return any(held in death[of] for death in home.client.get("/v1/agents/web")["deaths"])

        wait_until(lambda: told("exit") and told("cause"), "its deaths name it")
    finally:
        thief.kill()
        thief.wait()
    home.wait_row("web", health=lambda levels: levels and levels["endpoint"] == "ok")


CLOSES_FIRST = """
import signal, socket, sys, time
sock = socket.create_server(("127.0.0.1", int(sys.argv[1])))
def stop(*_):
    sock.close()  # from here on its port refuses
    time.sleep(1.5)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
body = b'{"ok": true}'
while True:
    peer, _ = sock.accept()
    peer.recv(4096)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 12\\r\\n\\r\\n" + body)
    peer.close()
"""


def test_an_agent_that_closes_its_port_while_all_goes_down_is_no_incident(home: KeeperHome) -> None:
    port = free_port()
    agent = server(home, port)
    home.up({**agent, "command": [sys.executable, "-c", CLOSES_FIRST, str(port)]})
    home.wait_row("web", phase="healthy")
    assert home.client.post("/v1/down", {}) == {"stopping": 1}
    wait_until(home.is_free, "all of Holdfast gone")
    assert list(home.home.path.glob("incidents/*")) == []
