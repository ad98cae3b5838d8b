"""Who starts when, who is left alone, and who is restarted by plan; on a real Holdfast with a clock that is set."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.clock import SHIFT_ENV
from holdfast.logs import read as logs
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome
from tests.harness.ports import free_port

# Listens only when the file named by its second argument is there.
LATE_SERVER = """
import http.server, os, sys, time
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
class Ok(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ok).serve_forever()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeeperHome]:
    monkeypatch.setenv(SHIFT_ENV, str(tmp_path / "clock"))
    made = KeeperHome()
    try:
        yield made
    finally:
        made.close()


def test_starts_wait_for_what_they_depend_on(home: KeeperHome) -> None:
    port = free_port()
    door = home.directory / "door"
    server = home.spec(
        "db", sys.executable, "-c", LATE_SERVER, str(port), str(door),
        health={"http": {"url": f"http://127.0.0.1:{port}/"}, "start_period_s": 60.0},
    )  # fmt: skip
    migrate = home.spec("migrate", "sh", "-c", f"while [ ! -e {door} ]; do sleep 0.05; done", once=True)
    needs = [{"agent": "db", "condition": "healthy"}, {"agent": "migrate", "condition": "finished"}]
    home.up(home.spec("app", "sleep", "600", depends_on=needs), server, migrate)
    home.wait_row("db", phase="starting")
    home.wait_row("app", phase="queued", why=lambda why: "waits for" in str(why))
    door.touch()
    assert home.wait_row("app", phase="healthy")["instance"] == 1
    assert home.row("migrate")["phase"] == "finished"


def test_under_maintenance_nothing_is_healed_until_it_ends(home: KeeperHome) -> None:
    home.up(home.spec("web", "sleep", "600", maintenance={"on": True}))
    former = home.wait_row("web", phase="healthy")["pid"]
    os.kill(former, signal.SIGKILL)
    home.wait_row("web", phase="backoff")
    os.kill(home.process("keeper")["pid"], signal.SIGKILL)
    wait_until(lambda: "maintenance" in home.row("web").get("next", ""), "the next keeper, which knows of it")
    assert home.row("web")["phase"] == "backoff"
    assert home.client.get("/v1/incidents")["incidents"] == []
    home.put(home.spec("web", "sleep", "600"))
    home.wait_row("web", pid=lambda pid: pid not in (None, former))
    assert len(home.client.get("/v1/incidents")["incidents"]) == 1


def test_a_planned_restart_happens_once_and_is_no_incident(home: KeeperHome, tmp_path: Path) -> None:
    later = time.gmtime(time.time() + 3600)
    plan = {"at": [{"hour": later.tm_hour, "minute": later.tm_min, "zone": "UTC"}]}
    home.up(home.spec("web", "sleep", "600", restart=plan))
    home.wait_row("web", phase="healthy")
    wait_until(lambda: "agent.planned" in _kinds(home), "the plan taken in")
    _set_clock(tmp_path, 3600 + 61 - later.tm_sec)
    home.wait_row("web", instance=2, phase="healthy")
    assert home.client.get("/v1/incidents")["incidents"] == []
    _set_clock(tmp_path, 3600 + 3000)
    wait_until(lambda: _kinds(home).count("node.away") >= 2, "the second jump")
    assert home.row("web")["instance"] == 2
    over = time.gmtime(time.time() + 3600 + 3000 - 120)
    plan = {"at": [{"hour": over.tm_hour, "minute": over.tm_min, "zone": "UTC"}]}
    said = _kinds(home).count("agent.planned")
    home.put(home.spec("web", "sleep", "600", restart=plan))
    wait_until(lambda: _kinds(home).count("agent.planned") > said, "the new plan taken in")
    home.wait_row("web", phase="healthy")
    assert home.row("web")["instance"] == 2, "a time that was over when it was written is owed to nobody"


# Says at its end what it found in its stop file.
TOLD = """
import json, os, signal, sys, time
def end(*_):
    try:
        said = json.load(open(os.environ["HOLDFAST_STOP_FILE"]))
        mine = said["instance"] == int(os.environ["HOLDFAST_INSTANCE"].rpartition(":")[2])
        print("planned", said["what"], mine, flush=True)
    except OSError:
        print("not planned", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    time.sleep(1)
"""


def test_an_agent_can_tell_a_planned_stop_from_a_stray_signal(home: KeeperHome) -> None:
    home.up(home.spec("web", sys.executable, "-c", TOLD, stop={"grace_s": 60.0, "hung_grace_s": 60.0}))

    def lines() -> list[str]:
        shown = logs.tail(home.home, "web", 100)
        return [line for line in shown if line.startswith(("ready", "planned", "not "))]

    wait_until(lambda: lines() == ["ready"], "its first words")
    os.kill(home.wait_row("web", instance=1, pid=bool)["pid"], signal.SIGTERM)
    wait_until(lambda: lines()[1:] == ["not planned", "ready"], "a stray signal")
    home.wait_row("web", instance=2, pid=bool)
    home.client.post("/v1/agents/web/restart", {"wait": False})
    wait_until(lambda: lines()[3:] == ["planned restart True", "ready"], "a planned restart")
    os.kill(home.wait_row("web", instance=3, pid=bool)["pid"], signal.SIGTERM)
    wait_until(lambda: lines()[5:] == ["planned restart False", "ready"], "another stray signal")


def _kinds(home: KeeperHome) -> list[str]:
    return [str(event["kind"]) for event in home.events()]


def _set_clock(tmp_path: Path, offset_s: float) -> None:
    (tmp_path / "new").write_text(str(offset_s))
    (tmp_path / "new").replace(tmp_path / "clock")
