"""Which agents a command is about: names, labels, everybody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.spec import selector
from tests.unit.cli.fake_keeper import Answer, Request, agent, status

FLEET = [
    agent("web", labels={"team": "x"}),
    agent("worker", labels={"team": "x"}, phase="stopped", rss_bytes=5),
    agent("lone", labels={}, rss_bytes=None),
]


@pytest.fixture
def fleet(keeper: Any) -> Any:
    def answer(request: Request) -> Answer:
        wanted = request.query.get("selector")
        return 200, status(*(row for row in FLEET if not wanted or selector.matches(wanted, row["labels"])))

    keeper.routes["GET", "/v1/status"] = answer
    for row in FLEET:
        for verb in ("start", "stop", "restart"):
            keeper.routes["POST", f"/v1/agents/{row['name']}/{verb}"] = (200, {"agent": row["name"], "phase": "ok"})
    return keeper


def acted(keeper: Any) -> list[str]:
    return [one.path.split("/")[3] for one in keeper.seen if one.method == "POST"]


@pytest.mark.parametrize(
    ("verb", "arguments", "names"),
    [
        ("stop", ("-l", "team=x"), ["web", "worker"]),
        ("stop", ("--all",), ["web", "worker", "lone"]),
        ("start", ("-l", "!team"), ["lone"]),
        ("restart", ("-l", "team=x"), ["web"]),  # worker was stopped on request
        ("restart", ("worker",), ["worker"]),
        ("restart", ("web", "lone", "-l", "team"), ["web"]),
        ("stop", ("--all", "--dry-run"), []),
    ],
)
def test_the_verbs_act_on_those_chosen(
    cli: Any, fleet: Any, verb: str, arguments: tuple[str, ...], names: list[str]
) -> None:
    assert cli(verb, *arguments).code == 0
    assert acted(fleet) == names


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("stop",), 2),
        (("stop", "--all", "web"), 2),
        (("stop", "-l", "team in ("), 2),
        (("stop", "-l", "team=y"), 4),
        (("stop", "--dry-run", "ghost"), 4),
        (("restart", "web", "ghost"), 4),
        (("ps", "ghost"), 4),
        (("ps", "-l", "="), 2),
        (("restart", "web", "--settle", "3"), 2),
    ],
)
def test_a_choice_that_means_nobody_is_told_and_nothing_is_done(
    cli: Any, fleet: Any, arguments: tuple[str, ...], code: int
) -> None:
    assert cli(*arguments).code == code
    assert acted(fleet) == []


def test_a_dry_run_lists_whom_it_would_touch(cli: Any, fleet: Any) -> None:
    out = cli("restart", "-l", "team=x", "--dry-run").out
    assert "web: would restart (healthy)" in out
    assert "worker: left as it is" in out
    answered = json.loads(cli("stop", "--all", "--dry-run", "--json").out)
    assert answered["dry_run"] is True
    assert [one["agent"] for one in answered["agents"]] == ["web", "worker", "lone"]


def test_ps_shows_the_chosen_in_the_order_asked_for(cli: Any, fleet: Any) -> None:
    assert cli("ps", "-o", "name").out.split() == ["web", "worker", "lone"]
    assert cli("ps", "-o", "name", "-l", "team").out.split() == ["web", "worker"]
    assert cli("ps", "-o", "name", "lone", "web").out.split() == ["lone", "web"]
    assert cli("ps", "-o", "name", "--sort", "memory").out.split() == ["web", "worker", "lone"]
    assert cli("ps", "-o", "name", "--sort", "name").out.split() == ["lone", "web", "worker"]
    assert [row["name"] for row in json.loads(cli("ps", "-o", "json", "-l", "team=x").out)["agents"]] == [
        "web",
        "worker",
    ]
    assert "team=x" in cli("ps", "-o", "wide").out


def test_a_rolling_restart_restarts_each_and_stops_at_the_first_that_fails(cli: Any, keeper: Any) -> None:
    rows = {name: agent(name) for name in ("a", "b", "c")}

    def restart(request: Request) -> Answer:
        name = request.path.split("/")[3]
        phase = "backoff" if name == "b" and broken else "healthy"
        rows[name] = agent(name, instance=2, phase=phase, why="exited with 1")
        return 200, {"agent": name, "phase": "stopping"}

    keeper.routes["GET", "/v1/status"] = lambda request: (200, status(*rows.values()))
    for name in rows:
        keeper.routes["POST", f"/v1/agents/{name}/restart"] = restart
    broken = True
    done = cli("restart", "--all", "--rolling", "--settle", "0")
    assert done.code == 3
    assert "HF2015 RollingStopped: b did not come back: exited with 1; 1 of 3 restarted, not touched: c" in done.err
    assert acted(keeper) == ["a", "b"]
    broken, rows = False, {name: agent(name) for name in rows}
    done = cli("restart", "--all", "--rolling", "--settle", "0", "--json")
    assert done.code == 0
    assert [one["agent"] for one in json.loads(done.out)["agents"]] == ["a", "b", "c"]


def test_a_choice_that_is_missing_is_asked_for_in_words_that_the_command_knows(cli: Any, fleet: Any) -> None:
    assert "or --all" in cli("stop").err
    assert "--all" in cli("describe").err
    assert "--all" not in cli("rm").err
