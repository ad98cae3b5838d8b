"""Agents chosen by labels, restarted in turn, described and watched, on a real Holdfast."""

from __future__ import annotations

import json
import signal

from tests.e2e.cli_home import PATIENCE_S, CliHome, Reader, home, wait_until
from tests.e2e.test_cli_fleet import up

__all__ = ["home"]

FLEET = """\
version: 1
agents:
  one: {command: [sleep, "100000"], stop: {grace: 3s}, labels: {team: x}}
  two: {command: [sleep, "100000"], stop: {grace: 3s}, labels: {team: x}}
  other: {command: [sleep, "100000"], stop: {grace: 3s}}
"""


def test_labels_choose_and_a_rolling_restart_takes_agents_in_turn(home: CliHome) -> None:
    up(home, FLEET)
    before = {name: row["pid"] for name, row in home.agents().items()}
    assert home.run("ps", "-o", "name", "-l", "team=x").stdout.split() == ["one", "two"]
    done = home.run("restart", "-l", "team=x", "--rolling", "--settle", "0.3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("one: back and well") < done.stdout.index("two: restarting")
    after = {name: row["pid"] for name, row in home.agents().items()}
    assert {name for name in before if before[name] != after[name]} == {"one", "two"}

    rolling = home.start("restart", "--all", "--rolling", "--settle", "600")
    heard = Reader(rolling)
    wait_until(lambda: any("one: restarting" in line for line in heard.out), "the first restart")
    rolling.send_signal(signal.SIGINT)
    assert rolling.wait(PATIENCE_S) == 130
    wait_until(lambda: any("not touched: two, other" in line for line in heard.err), "what is left is told")
    wait_until(lambda: {row["phase"] for row in home.agents().values()} == {"healthy"}, "the one under way is back")

    events = home.run("events", "-l", "team=x", "--kind", "agent.restart", "--json").stdout.splitlines()
    assert [json.loads(line)["agent"] for line in events] == ["one", "two", "one"]
    known = json.loads(home.run("describe", "one", "--config", "--json").stdout)
    assert [one["left"] for one in known["outlook"]["budgets"]] == [3, 1]
    assert any(row["field"] == "stop.grace" and "holdfast.yaml:3" in row["source"] for row in known["config"])
    assert "1 restart" in home.run("describe", "one").stdout
    shown = json.loads(home.run("top", "one", "--json").stdout)
    assert shown["agent"]["name"] == "one"
    assert "agent.restart" in {event["kind"] for event in shown["events"]}
    assert "3 healthy" in home.run("top", "--once").stdout
    stopped = home.run("stop", "-l", "team=x", "--wait")
    assert stopped.returncode == 0
    assert {name for name, row in home.agents().items() if row["phase"] == "stopped"} == {"one", "two"}
