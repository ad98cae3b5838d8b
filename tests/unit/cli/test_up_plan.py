"""`up` shows what will change before it changes anything; --dry-run changes nothing."""

from __future__ import annotations

import json
from typing import Any

from holdfast import limits
from holdfast.cli.plan import plan_lines
from tests.unit.cli import fake_keeper
from tests.unit.cli.conftest import Cli

FILE = "agents: {web: {command: [sleep, '9'], env: {API_KEY: geheim}}}\n"
CHANGE = {
    "added": ["new"],
    "changed": ["web", "far"],
    "removed": ["old"],
    "unchanged": ["a", "b"],
    "dry_run": True,
    "details": [
        {"agent": "new", "change": "added", "restarts": False, "keys": []},
        {
            "agent": "web",
            "change": "changed",
            "restarts": True,
            "keys": [
                {"key": "limits.memory", "before": "500M", "after": "600M"},
                {"key": "env.A", "before": "", "after": "b"},
            ],
        },
        {
            "agent": "far",
            "change": "changed",
            "restarts": False,
            "keys": [{"key": "labels.x", "before": "\x1b[31m" + "y" * 90, "after": ""}],
        },
        {"agent": "old", "change": "removed", "restarts": False, "keys": []},
    ],
    "fleet": [{"key": "alerts", "before": "1", "after": "2"}],
}


def test_the_plan_says_what_happens_to_whom() -> None:
    lines = plan_lines(CHANGE)
    assert lines[0] == "+ new: new"
    assert lines[1] == "~ web: restarts: limits.memory 500M -> 600M; env.A b (new)"
    assert lines[2].startswith("~ far: no restart: labels.x ")
    assert lines[2].endswith("… (gone)")
    assert lines[3:] == ["- old: is stopped, its state stays", "~ alerts 1 -> 2", "  2 unchanged"]
    assert all(line.isprintable() for line in lines)


def test_a_long_plan_is_cut_and_says_so() -> None:
    details = [{"agent": f"a{number}", "change": "added"} for number in range(100)]
    lines = plan_lines({"details": details})
    assert len(lines) == limits.PLAN_LINES_SHOWN + 1
    assert lines[-1] == f"… and {100 - limits.PLAN_LINES_SHOWN} more; --json names them all"


def test_nothing_to_change_is_no_plan() -> None:
    assert plan_lines({"unchanged": ["a"], "details": []}) == []


def test_a_dry_run_asks_the_keeper_and_changes_nothing(cli: Cli, keeper: fake_keeper.FakeKeeper) -> None:
    (cli.home.path.parent / "holdfast.yaml").write_text(FILE)
    keeper.routes["PUT", "/v1/fleet"] = lambda request: (200, CHANGE if request.query.get("dry_run") == "1" else 500)
    done = cli("up", "--dry-run")
    assert done.code == 0
    assert "~ web: restarts: limits.memory 500M -> 600M" in done.out
    assert done.out.endswith("nothing was changed\n")
    assert [one.query for one in keeper.asked("PUT", "/v1/fleet")] == [{"dry_run": "1"}]
    shown: dict[str, Any] = json.loads(cli("up", "--dry-run", "--json").out)
    assert (shown["dry_run"], shown["running"], shown["added"]) == (True, True, ["new"])
    assert shown["details"] == CHANGE["details"]
    assert shown["files"] == ["holdfast.yaml"]


def test_without_a_keeper_everything_is_new_and_nothing_is_written(cli: Cli) -> None:
    directory = cli.home.path.parent
    (directory / "holdfast.yaml").write_text(f"include: more.yaml\n{FILE}")
    (directory / "more.yaml").write_text("agents: {two: {command: [x]}}\n")
    before = sorted(directory.rglob("*"))
    done = cli("up", "--dry-run")
    assert done.code == 0
    assert done.out.splitlines()[:2] == ["+ web: new", "+ two: new"]
    assert "read holdfast.yaml, more.yaml" in done.err
    assert "geheim" not in done.out
    assert sorted(directory.rglob("*")) == before
    shown = json.loads(cli("up", "--dry-run", "--json").out)
    assert (shown["added"], shown["running"]) == (["web", "two"], False)


def test_a_dry_run_of_a_bad_file_has_exit_code_2(cli: Cli) -> None:
    (cli.home.path.parent / "holdfast.yaml").write_text("agents: {a: {comand: [x]}}\n")
    assert cli("up", "--dry-run").code == 2
