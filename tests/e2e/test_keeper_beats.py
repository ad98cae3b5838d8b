"""Real agents that beat by sd_notify: stuck ones are restarted although a thread of theirs goes on beating."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome, Row
from tests.harness.quick_keeper import QuickHome

BEATER = """
import os, socket, sys, threading, time
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.connect(os.environ["NOTIFY_SOCKET"])
cycle = 0
def tell(*lines):
    sock.send("\\n".join(lines).encode())
def beat():
    while True:
        tell("WATCHDOG=1", f"X_CYCLE={cycle}", "X_TOKENS=%d" % (cycle * 10))
        time.sleep(0.1)
key = os.environ.get("API_KEY", "")
tell("READY=1", "STATUS=at work" + key, *(["X_DEGRADED=no credit for " + key] if key else []))
assert int(os.environ["WATCHDOG_USEC"]) == 10_000_000 and "WATCHDOG_PID" not in os.environ
threading.Thread(target=beat, daemon=True).start()
name = os.environ["HOLDFAST_AGENT"]
while True:
    cycle += 1
    if os.path.exists(f"{sys.argv[1]}/{name}-busy"):
        tell("X_BUSY_USEC=300000000")
        time.sleep(1000)
    if os.path.exists(f"{sys.argv[1]}/{name}-broken"):
        tell("WATCHDOG=trigger")
        time.sleep(1000)
    if os.path.exists(f"{sys.argv[1]}/{name}-stuck"):
        os.unlink(f"{sys.argv[1]}/{name}-stuck")
        while True:
            time.sleep(0.01)
    time.sleep(0.05)
"""


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = QuickHome()  # on a starved machine silence says nothing
    try:
        yield made
    finally:
        made.close()


def beater(home: KeeperHome, name: str) -> Row:
    return home.spec(name, sys.executable, "-c", BEATER, str(home.directory), health={"beat_s": 5.0})


def is_ok(levels: Row | None) -> bool:
    return bool(levels) and levels["behaviour"] == "ok"


def wait_beating(home: KeeperHome, *names: str) -> None:
    for name in names:
        home.wait_row(
            name, health=lambda levels: levels and levels["behaviour"] == "ok", beat=lambda b: b and b["cycle"]
        )


def test_a_stuck_loop_is_restarted_and_a_busy_or_honest_one_is_not_also_when_keeper_and_init_die(
    home: KeeperHome,
) -> None:
    home.up(*(beater(home, name) for name in ("stuck", "busy", "honest")))
    wait_beating(home, "stuck", "busy", "honest")
    (home.directory / "busy-busy").touch()
    busy = home.wait_row("busy", beat=lambda beat: beat and (beat["busy_s"] or 0) > 200)
    for process in ("keeper", "init"):
        former = home.process(process)["pid"]
        os.kill(former, signal.SIGKILL)
        home.wait_back(process, former)
    wait_beating(home, "stuck", "honest")
    (home.directory / "stuck-stuck").touch()
    after = home.wait_row("stuck", instance=2)
    assert after["restarts"] == 1
    [incident] = home.incidents()
    assert "did not behave (beat: beats go on but its cycle stands at " in incident["cause"]
    wait_beating(home, "stuck")
    rows = {name: home.row(name) for name in ("busy", "honest")}
    assert {name: row["instance"] for name, row in rows.items()} == {"busy": 1, "honest": 1}
    assert rows["busy"]["pid"] == busy["pid"]
    assert rows["honest"]["beat"]["status"] == "at work"
    assert rows["honest"]["beat"]["tokens"] > 0


def test_an_agent_that_says_it_is_broken_is_restarted_at_once(home: KeeperHome) -> None:
    home.up(beater(home, "one"))
    wait_beating(home, "one")
    (home.directory / "one-broken").touch()
    home.wait_row("one", instance=2)
    (home.directory / "one-broken").unlink()
    cause = wait_until(lambda: home.incidents() and home.incidents()[-1]["cause"], "its incident")
    assert "WATCHDOG=trigger" in cause


def test_what_an_agent_says_of_itself_is_shown_without_its_secrets(home: KeeperHome) -> None:
    secret = "not-to-be-seen-anywhere"
    home.up({**beater(home, "one"), "env": {"API_KEY": secret}, "secret_env": ["API_KEY"]})
    row = home.wait_row("one", phase="degraded", beat=lambda beat: beat and beat["cycle"])
    assert row["beat"]["status"] == "at work***"
    shown = json.dumps([row, home.client.get("/v1/agents/one"), home.events()])
    assert "no credit for ***" in shown
    assert secret not in shown
