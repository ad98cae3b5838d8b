"""Real agents that hang or die: what the post-mortem says of them, and that looking never keeps them from returning."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome, Row
from tests.harness.ports import free_port
from tests.harness.quick_keeper import QuickHome

# Answers until the file appears; then its only thread waits for a lock for ever.
HANGS = """
import http.server, os, sys, threading
lock = threading.Lock()
lock.acquire()
def stuck_here():
    lock.acquire()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if os.path.exists(sys.argv[2]):
            stuck_here()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"ok": true}')
    def log_message(self, *args): pass
print("token=" + os.environ["API_KEY"], flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = QuickHome()  # on a starved machine silence says nothing
    try:
        yield made
    finally:
        made.close()


def hanging(home: KeeperHome, **more: Any) -> Row:
    port = free_port()
    script = home.directory / "agent.py"
    script.write_text(HANGS)
    health = {
        "http": {"url": f"http://127.0.0.1:{port}/health", "expect": {"ok": True}},
        "interval_s": 0.2,
        "timeout_s": 2.0,
        "start_period_s": 20.0,
    }
    return home.spec(
        "web",
        *(sys.executable, str(script), str(port), str(home.directory / "hang"), "--password", "hunter2hunter2"),
        health=health,
        env={"API_KEY": "verysecretvalue"},
        secret_env=["API_KEY"],
        **more,
    )


def wait_restarted(home: KeeperHome) -> Row:
    return home.wait_row("web", instance=lambda number: number and number >= 2)


def report(home: KeeperHome, ready: Any = lambda shown: shown) -> Row:
    """The newest post-mortem's JSON once `ready` holds."""

    def look() -> Row | None:
        found = home.incidents()
        path = found[-1]["postmortem"] if found else None
        if path is None:
            return None
        try:
            shown: Row = json.loads(Path(path).with_suffix(".json").read_text())
        except FileNotFoundError:  # it is written a moment later
            return None
        return shown if ready(shown) else None

    found: Row = wait_until(look, "a post-mortem")
    return found


def test_the_function_an_agent_hung_in_is_named_and_no_secret_is_kept(home: KeeperHome) -> None:
    home.up(hanging(home))
    home.wait_row("web", phase="healthy")
    (home.directory / "hang").touch()
    wait_restarted(home)
    (home.directory / "hang").unlink()
    shown = report(home, lambda told: told["evidence"])
    if shown["hung_in"] is None:
        pytest.skip(f"nothing can look into processes here: {shown['gaps']}")
    assert shown["hung_in"]["function"] == "stuck_here"
    assert shown["kind"] in ("deadlock", "hung")
    path = Path(home.incidents()[-1]["postmortem"])
    wait_until(lambda: "stuck_here (agent.py:" in path.read_text().splitlines()[2], "the file, written anew")
    wait_until(lambda: any("stuck_here" in event["text"] for event in home.events(agent="web")), "it is told")
    for path in home.home.incidents.iterdir():
        try:
            kept = path.read_text()
        except FileNotFoundError:  # written anew just now
            continue
        assert "verysecretvalue" not in kept
        assert "hunter2hunter2" not in kept


def test_a_keeper_killed_while_it_looks_finishes_the_restart(home: KeeperHome) -> None:
    home.up(hanging(home))
    row = home.wait_row("web", phase="healthy")
    keeper = home.process("keeper")["pid"]
    (home.directory / "hang").touch()

    def decided() -> bool:
        return home.row("web").get("phase") == "recovering"

    wait_until(decided, "the decision to restart it")
    os.kill(keeper, signal.SIGKILL)
    after = wait_restarted(home)
    assert after["pid"] != row["pid"]
    (home.directory / "hang").unlink()
    home.wait_row("web", health=lambda levels: levels and levels["endpoint"] == "ok")


def test_similar_incidents_are_counted_and_linked(home: KeeperHome) -> None:
    script = "import sys; print('boom'); raise RuntimeError('no way')"
    home.up(home.spec("job", sys.executable, "-c", script, restart={"backoff_s": [0.0], "retry_s": 600.0}))
    home.wait_row("job", phase="escalated")
    wait_until(lambda: home.incidents()[-1]["kind"], "the first verdict")
    home.client.post("/v1/agents/job/restart", {})
    wait_until(lambda: len(home.incidents()) > 1, "a second incident")
    wait_until(lambda: home.incidents()[-1]["kind"], "the second verdict")
    shown = report(home, lambda told: told["similar"])
    assert shown["kind"] == "own-error"
    assert shown["nth"] == 2
    wait_until(lambda: home.client.get("/v1/incidents")["groups"][-1]["count"] == 2, "both are counted")

    def markdown() -> str:
        return str(home.client.get(f"/v1/incidents/{shown['id']}/postmortem")["markdown"])

    wait_until(lambda: "the 2nd of this kind in 7 days" in markdown(), "how often is told")
    wait_until(lambda: "RuntimeError" in markdown().splitlines()[2], "its reason is told")
