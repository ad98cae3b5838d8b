"""The real keeper above a real guard and init: what it keeps up, and what it survives."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.node import cgroups
from tests.harness.init_home import PATIENCE_S, wait_until
from tests.harness.keeper_home import KeeperHome


@pytest.fixture
def home() -> Iterator[KeeperHome]:
    made = KeeperHome()
    try:
        yield made
    finally:
        made.close()


def cgroups_of(home: KeeperHome, agent: str) -> list[Path]:
    """The cgroups of an agent's pods; none where there are no cgroups."""
    plan = cgroups.choose(home.home.home_id())
    roots = [root for root in (plan.v2_root, *plan.v1_roots.values()) if root]
    return [path for root in roots for path in root.glob(f"{agent}.*")]


def test_a_fleet_is_started_and_shown(home: KeeperHome) -> None:
    change = home.up(home.spec("one", "sleep", "1000"), home.spec("two", "sleep", "1000"))
    assert change["added"] == ["one", "two"]
    for name in ("one", "two"):
        row = home.wait_row(name, phase="healthy")
        os.kill(row["pid"], 0)
        assert row["instance"] == 1
        assert row["health"] == {"process": "ok", "endpoint": "off", "behaviour": "off"}
    own = {"guard", "init", "keeper", "logger"}
    wait_until(lambda: {row["name"] for row in home.status()["holdfast"]["processes"]} == own, "all of Holdfast")


def test_a_killed_agent_comes_back_and_the_incident_is_told(home: KeeperHome) -> None:
    home.up(home.spec("one", "sh", "-c", "echo ready to work; exec sleep 1000"))
    row = home.wait_row("one", phase="healthy")
    os.kill(row["pid"], signal.SIGKILL)
    after = home.wait_row("one", instance=2, phase="recovering")
    assert after["pid"] != row["pid"]
    assert after["restarts"] == 1
    incident = home.incidents()[-1]
    assert incident["agent"] == "one"
    assert incident["cause"] == "was killed by SIGKILL"
    assert incident["tiers"] == [1]
    path = wait_until(lambda: home.incidents()[-1]["postmortem"], "a post-mortem")
    wait_until(lambda: "ready to work" in Path(path).read_text(), "the last lines in the post-mortem")
    shown = home.client.get(f"/v1/incidents/{incident['id']}")
    assert any("died after" in moment["text"] for moment in shown["timeline"])


def test_a_killed_keeper_comes_back_without_touching_agents(home: KeeperHome) -> None:
    home.up(home.spec("one", "sleep", "1000"))
    row = home.wait_row("one", phase="healthy")
    former = home.process("keeper")["pid"]
    os.kill(former, signal.SIGKILL)
    home.wait_back("keeper", former)
    after = home.wait_row("one", phase="healthy")
    assert (after["pid"], after["instance"], after["restarts"]) == (row["pid"], 1, 0)


def test_guard_and_init_killed_together_are_brought_back_by_the_keeper(home: KeeperHome) -> None:
    home.up(home.spec("one", "sleep", "1000"))
    row = home.wait_row("one", phase="healthy")
    guard, init = home.process("guard")["pid"], home.process("init")["pid"]
    os.kill(guard, signal.SIGKILL)
    os.kill(init, signal.SIGKILL)
    home.wait_back("init", init)
    after = home.wait_row("one", phase="healthy")
    assert (after["pid"], after["instance"]) == (row["pid"], 1)
    os.kill(after["pid"], signal.SIGKILL)
    home.wait_row("one", instance=2, phase="recovering")


def test_an_agent_that_dies_while_the_keeper_is_dead_is_told_afterwards(home: KeeperHome) -> None:
    home.up(home.spec("one", "sleep", "1000"))
    row = home.wait_row("one", phase="healthy")
    keeper = home.process("keeper")["pid"]
    os.kill(keeper, signal.SIGSTOP)
    os.kill(row["pid"], signal.SIGKILL)
    os.kill(keeper, signal.SIGKILL)
    home.wait_back("keeper", keeper)
    home.wait_row("one", instance=2, restarts=1)
    assert len(home.incidents()) == 1


def test_a_damaged_database_is_set_aside_and_rebuilt(home: KeeperHome) -> None:
    home.up(home.spec("one", "sleep", "1000"), home.spec("two", "sleep", "1000"))
    row = home.wait_row("one", phase="healthy")
    home.client.post("/v1/agents/two/stop", {"wait": True})
    os.kill(row["pid"], signal.SIGKILL)
    row = home.wait_row("one", instance=2, phase="recovering")
    wait_until(home.home.database.exists, "a database")
    keeper, init = home.process("keeper")["pid"], home.process("init")["pid"]
    for pid in (init, keeper):  # so that the damage is done before the next one looks; init would continue the keeper
        os.kill(pid, signal.SIGSTOP)
    for path in home.home.path.glob("keeper.db*"):
        path.write_bytes(b"this is no database" * 1000)
    os.kill(keeper, signal.SIGKILL)
    os.kill(init, signal.SIGCONT)
    home.wait_back("keeper", keeper)
    after = home.wait_row("one", phase="recovering")
    assert (after["pid"], after["instance"], after["restarts"]) == (row["pid"], 2, 1)
    assert home.row("two")["phase"] == "stopped"
    assert "HF3004" in {warning["code"] for warning in home.status()["warnings"]}
    assert list(home.home.path.glob("keeper.db.corrupt-*"))
    assert len(home.incidents()) == 1


def test_stop_start_and_restart_are_planned(home: KeeperHome) -> None:
    home.up(home.spec("one", "sleep", "1000"))
    home.wait_row("one", phase="healthy")
    assert home.client.post("/v1/agents/one/restart", {})["agent"] == "one"
    home.wait_row("one", phase="healthy", instance=2, restarts=0)
    assert home.client.post("/v1/agents/one/stop", {"wait": True})["phase"] == "stopped"
    assert home.row("one")["pid"] is None
    assert home.client.post("/v1/agents/one/start", {"wait": True})["phase"] == "healthy"
    assert home.row("one")["instance"] == 3
    assert home.incidents() == []


def test_a_changed_fleet_restarts_only_what_has_to_be(home: KeeperHome) -> None:
    same, other, gone = (home.spec(name, "sleep", "1000") for name in ("same", "other", "gone"))
    home.up(same, other, gone)
    rows = {name: home.wait_row(name, phase="healthy") for name in ("same", "other", "gone")}
    change = home.put({**same, "priority": 70}, {**other, "command": ["sleep", "2000"]}, home.spec("new", "sleep", "9"))
    assert change == {"added": ["new"], "changed": ["same", "other"], "removed": ["gone"], "unchanged": []}
    home.wait_row("other", phase="healthy", instance=2)
    home.wait_row("new", phase="healthy")
    assert home.row("same")["pid"] == rows["same"]["pid"]
    wait_until(lambda: not home.row("gone"), "the removed agent is gone")
    wait_until(lambda: not Path(f"/proc/{rows['gone']['pid']}").exists(), "its process is gone")
    assert home.put(home.spec("more", "sleep", "1000"), merge=1)["added"] == ["more"]
    assert {row["name"] for row in home.status()["agents"]} == {"same", "other", "new", "more"}


def test_a_missing_command_is_explained_and_tried_again(home: KeeperHome) -> None:
    command = home.directory / "agent.sh"
    restart = {"backoff_s": [0.0, 0.2, 0.2], "retry_s": 1.0}
    home.up(home.spec("one", str(command), restart=restart))
    row = home.wait_row("one", phase=lambda phase: phase in ("backoff", "escalated"))
    assert "does not exist" in row["why"]
    command.write_text("#!/bin/sh\nexec sleep 1000\n")
    command.chmod(0o755)
    home.wait_row("one", pid=lambda pid: pid)


def test_a_job_that_runs_once_is_finished(home: KeeperHome) -> None:
    home.up(home.spec("job", "true", once=True))
    home.wait_row("job", phase="finished")
    assert home.incidents() == []


def test_an_agent_that_cannot_live_climbs_to_one_alert(home: KeeperHome) -> None:
    told = home.directory / "told"
    alert = {"command": ["sh", "-c", f"cat >> {told}; echo >> {told}"]}
    restart = {"backoff_s": [0.0, 0.05, 0.05], "retry_s": 0.5}
    failing = ("sh", "-c", "echo no key in the environment >&2; exit 3")
    home.up(home.spec("bad", *failing, restart=restart), alerts=[alert])
    home.wait_row("bad", phase="escalated", tier=4)
    wait_until(lambda: told.exists() and told.read_text().strip(), "the alert")
    incident = home.incidents()[-1]
    assert incident["outcome"] == "escalated"
    assert incident["tiers"] == [1, 2, 4]
    shown = wait_until(
        lambda: (it := home.client.get(f"/v1/incidents/{incident['id']}"))["log_lines"] and it, "the evidence"
    )
    assert "no key in the environment" in shown["log_lines"][-1]
    assert "exit 3" in shown["exit"]
    describe = home.client.get("/v1/agents/bad")
    assert 1 <= len(describe["deaths"]) <= 5
    assert describe["pod"]["number"] == 2
    assert told.read_text().count('"kind":"alert"') == 1
    wait_until(lambda: all(path.name == "bad.2" for path in cgroups_of(home, "bad")), "the former place goes")
    home.put()
    wait_until(lambda: not cgroups_of(home, "bad"), "its places go with it")


def test_down_stops_everything_and_up_brings_it_back_without_incidents(home: KeeperHome) -> None:
    home.up(home.spec("one", "sleep", "1000"))
    row = home.wait_row("one", phase="healthy")
    assert home.client.post("/v1/down", {}) == {"stopping": 1}
    wait_until(lambda: not home.client.is_up(), "the API goes away")
    wait_until(lambda: not Path(f"/proc/{row['pid']}").exists(), "the agent goes away")
    wait_until(home.is_free, "the lock is free")
    home.start_guard(str(home.home.path), str(home.home.run))
    home.wait_row("one", phase="healthy", instance=2, restarts=0)
    assert home.incidents() == []


def test_a_second_keeper_leaves_with_a_message(home: KeeperHome) -> None:
    import subprocess

    home.up(home.spec("one", "sleep", "1000"))
    command = [sys.executable, "-m", "holdfast.keeper", "--home", str(home.home.path)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert second.returncode == 0
    assert "HF3003" in second.stderr
    assert home.client.is_up()


def test_a_death_is_told_in_the_words_of_the_log(home: KeeperHome) -> None:
    """The reason stands in what it printed; its exit code alone is not enough."""
    script = "import time; time.sleep(0.3); raise ValueError('no key for the model')"
    home.up(home.spec("one", sys.executable, "-c", script, restart={"backoff_s": [0.0], "retry_s": 600.0}))
    home.wait_row("one", phase="escalated", why=lambda why: why and "ValueError: no key for the model" in why)

    def told() -> bool:
        deaths = home.client.get("/v1/agents/one")["deaths"]
        return "ValueError: no key for the model" in deaths[-1]["exit"]

    wait_until(told, "the death in the words of the log")
    wait_until(lambda: any(event["kind"] == "agent.explained" for event in home.events(agent="one")), "it is told")
