"""Commands that ask the keeper: what they send, what they print, their exit codes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.unit.cli import fake_keeper
from tests.unit.cli.fake_keeper import agent, status


@pytest.mark.parametrize(
    ("phases", "code"),
    [
        ((), 0),
        (("healthy",), 0),
        (("healthy", "stopped", "finished"), 0),
        (("healthy", "starting"), 3),
        (("degraded",), 3),
        (("unhealthy",), 3),
        (("backoff",), 3),
        (("escalated", "healthy"), 3),
        (("queued",), 3),
        (("recovering",), 3),
        (("stopping",), 3),
    ],
)
def test_ps_says_by_its_exit_code_whether_all_is_as_wanted(
    cli: Any, keeper: Any, phases: tuple[str, ...], code: int
) -> None:
    rows = [agent(f"a{i}", phase=phase) for i, phase in enumerate(phases)]
    keeper.routes["GET", "/v1/status"] = (200, status(*rows))
    assert cli("ps").code == code
    assert cli("ps", "--json").code == code


def test_ps_shows_every_column_and_the_warnings_below(cli: Any, keeper: Any) -> None:
    warning = {"code": "HF5001", "message": "nobody would be told", "next": "holdfast alert test"}
    row = agent(
        phase="backoff", pid=None, uptime_s=None, tier=1, restarts=3, why="Exited with 1.", next="Again in 9 s."
    )
    keeper.routes["GET", "/v1/status"] = (200, status(row, warnings=(warning,)))
    out = cli("ps").out
    header, line = out.splitlines()[:2]
    assert header.split() == ["NAME", "PHASE", "HEALTH", "PID", "UPTIME", "RESTARTS", "TIER", "MEM", "WHY", "/", "NEXT"]
    assert line.split()[:8] == ["web", "backoff", "ok/ok/off", "-", "-", "3", "1", "12M"]
    assert line.endswith("Exited with 1. ▸ Again in 9 s.")
    assert "warning HF5001: nobody would be told" in out
    assert "guard 100, init 101, keeper 102, logger 103" in out


def test_ps_gives_pids_to_scripts_of_agents_or_of_holdfast_itself(cli: Any, keeper: Any) -> None:
    rows = (agent("web", pid=41), agent("gone", pid=None, phase="backoff"))
    keeper.routes["GET", "/v1/status"] = (200, status(*rows))
    assert cli("ps", "-o", "pid").out == "41\n"
    assert cli("ps", "-o", "pid", "gone").out == ""
    own = cli("ps", "-o", "pid", "--holdfast")
    assert (own.out.split(), own.code) == (["100", "101", "102", "103"], 0)
    assert cli("ps", "--holdfast", "-o", "name").out.split() == ["guard", "init", "keeper", "logger"]
    assert cli("ps", "--holdfast").out.startswith("holdfast ")
    assert json.loads(cli("ps", "--holdfast", "--json").out)["processes"][0]["pid"] == 100


def test_text_of_agents_cannot_steer_the_terminal(cli: Any, keeper: Any) -> None:
    keeper.routes["GET", "/v1/status"] = (200, status(agent(why="evil \x1b[2J\x07 words\nnext line")))
    out = cli("ps").out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert len(out.splitlines()) == 3


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_the_three_verbs_ask_for_each_agent(cli: Any, keeper: Any, verb: str) -> None:
    keeper.routes["GET", "/v1/status"] = (200, status(agent("web"), agent("worker")))
    for name in ("web", "worker"):
        keeper.routes["POST", f"/v1/agents/{name}/{verb}"] = (200, {"agent": name, "phase": "stopping"})
    done = cli(verb, "web", "worker", "--wait", "--json")
    assert json.loads(done.out) == {
        "agents": [{"agent": "web", "phase": "stopping"}, {"agent": "worker", "phase": "stopping"}]
    }
    assert keeper.asked("POST", f"/v1/agents/web/{verb}")[0].json == {"wait": True}


def test_describe_shows_deaths_and_leaves_out_what_is_empty(cli: Any, keeper: Any) -> None:
    known = {
        **agent(),
        "spec": {"command": ["python3", "web.py"], "env": {"TOKEN": "***"}, "user": None},
        "ladder": {"tier": 0, "nested": {"list": [{"a": 1, "b": 2}]}},
        "deaths": [{"at": 1_700_000_000.0, "instance": 1, "exit": "signal 9", "cause": "killed", "lived_s": 3.5}],
        "permit": None,
        "pod": {"cgroup": None, "user": "root"},
    }
    keeper.routes["GET", "/v1/agents/web"] = (200, known)
    out = cli("describe", "web").out
    assert "signal 9  lived 3.5s  killed" in out
    assert re.search(r"^  command +python3 web\.py$", out, re.MULTILINE)
    assert re.search(r"^  env\.TOKEN +\*\*\*$", out, re.MULTILINE)
    assert "permit" not in out
    assert "cgroup" not in out
    assert "versions of its state" not in out
    assert json.loads(cli("describe", "web", "--json").out) == known


def test_describe_tells_which_versions_there_are_to_go_back_to(cli: Any, keeper: Any) -> None:
    newest = {"id": "aaaa1111".ljust(32, "0"), "at": 1_700_000_000.0}
    kept = {"snapshots": 1234, "newest": newest, "known_good": None, "store": "", "trouble": ["one \x1b[31mdisk"]}
    keeper.routes["GET", "/v1/agents/web"] = (200, {**agent(), "versions": kept})
    out = cli("describe", "web").out
    for line in (
        r"kept +1,234 snapshots",
        r"newest +aaaa11110000, .* ago",
        r"known-good +none yet",
        r"warning +one disk",
    ):
        assert re.search(rf"^  {line}$", out, re.MULTILINE), line


def _records(count: int) -> bytes:
    lines = [
        {"seq": n, "at": 1_700_000_000.0 + n, "kind": "spawned", "agent": "web", "text": f"pid {n}", "body": {}}
        for n in range(1, count + 1)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_events_shows_the_last_ones_unless_all_are_asked_for(cli: Any, keeper: Any) -> None:
    def answer(request: fake_keeper.Request) -> fake_keeper.Answer:
        after, last = int(request.query["after"]), int(request.query.get("last", 80))
        return 200, b"".join(_records(80).splitlines(keepends=True)[after:][-last:])

    keeper.routes["GET", "/v1/events"] = answer
    assert len(cli("events").out.splitlines()) == 50
    assert len(cli("events", "--all").out.splitlines()) == 80
    shown = [json.loads(line) for line in cli("events", "--json", "--after", "78", "--agent", "web").out.splitlines()]
    assert [one["seq"] for one in shown] == [79, 80]
    assert keeper.asked("GET", "/v1/events")[-1].query["agent"] == "web"
    cli("events", "-l", "team=x", "--kind", "ladder", "--kind", "agent.stop", "--since", "1h30m")
    asked = keeper.asked("GET", "/v1/events")[-1].query
    assert (asked["selector"], asked["kind"], asked["since"]) == ("team=x", "ladder,agent.stop", "5400.0")
    assert "last" not in asked
    assert "did you mean 5m" in cli("events", "--since", "5 min").err


def test_events_can_wait_for_one_and_end_with_it(cli: Any, keeper: Any) -> None:
    keeper.routes["GET", "/v1/events"] = (200, _records(9))
    kind = json.loads(_records(9).splitlines()[4])["kind"]
    first = next(n for n, line in enumerate(_records(9).splitlines(), 1) if json.loads(line)["kind"] == kind)
    done = cli("events", "--until", kind, "--kind", "nothing")
    assert (len(done.out.splitlines()), done.code) == (first, 0)
    asked = keeper.asked("GET", "/v1/events")[-1].query
    assert (asked["follow"], asked["kind"]) == ("1", f"nothing,{kind}")


def test_incidents_lists_and_shows(cli: Any, keeper: Any) -> None:
    row = {
        "id": "20261121-ab",
        "agent": "web",
        "cause": "killed by signal 9",
        "caught_s": 0.004,
        "restored_s": 61.2,
        "tiers": [1, 2],
        "outcome": "recovered",
        "postmortem": "/h/incidents/x.md",
    }
    keeper.routes["GET", "/v1/incidents"] = (200, {"incidents": [row]})
    assert json.loads(cli("incidents", "--json").out) == {"incidents": [row]}
    assert cli("incidents").out.splitlines()[1].split()[:6] == [
        "20261121-ab",
        "web",
        "recovered",
        "0.0s",
        "1m01s",
        "1,2",
    ]
    assert cli("incidents", "list").out == cli("incidents").out
    detail = {**row, "exit": "SIGKILL", "timeline": [{"at": 1.0, "text": "exit seen"}], "log_lines": ["last words"]}
    keeper.routes["GET", "/v1/incidents/20261121-ab"] = (200, detail)
    out = cli("incidents", "show", "20261121-ab").out
    assert "exit seen" in out
    assert "last words" in out
    assert "/h/incidents/x.md" in out
    older = {**row, "id": "20261120-cd", "opened_at": -9.0}
    keeper.routes["GET", "/v1/incidents"] = (200, {"incidents": [row, older]})
    assert cli("incidents", "web").out == out
    assert cli("incidents", "ghost").code == 4


@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [
        ([], 1, "no channel is declared"),
        ([{"channel": "webhook", "ok": True, "reason": ""}], 0, "ok     webhook"),
        ([{"channel": "ntfy", "ok": False, "reason": "refused"}], 1, "failed ntfy: refused"),
    ],
)
def test_alert_test_succeeds_only_when_somebody_was_told(
    cli: Any, keeper: Any, sent: list[dict[str, Any]], code: int, words: str
) -> None:
    keeper.routes["POST", "/v1/alerts/test"] = (200, {"sent": sent})
    done = cli("alert", "test")
    assert done.code == code
    assert words in done.out


def test_doctor_shows_what_does_not_hold_with_the_next_step(cli: Any, keeper: Any) -> None:
    checks = [
        {"name": "cgroups", "ok": False, "value": "none", "why": "limits do not hold", "next": "start as root"},
        {"name": "disk", "ok": True, "value": "80 GB free", "why": "", "next": ""},
    ]
    keeper.routes["GET", "/v1/doctor"] = (200, {"checks": checks})
    done = cli("doctor")
    assert done.code == 0
    assert "next: start as root" in done.out
    assert "1 of 2 hold" in done.out
    assert json.loads(cli("doctor", "--json").out) == {"checks": checks}
