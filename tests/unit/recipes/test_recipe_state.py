"""What recipes know of their agents' state: what must be whole, how to rest, which logins go stale, how to copy."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from holdfast import recipes
from holdfast.recipes import clone, openclaw_function
from holdfast.spec.model import AgentSpec
from holdfast.spec.validator import Kind
from holdfast.state.checks import validate
from tests.unit.recipes.fake_gateway import Gateway

OPENCLAW = "recipe: openclaw\n    openclaw: {state_dir: state, port: 18801}"
HERMES = "recipe: hermes\n    hermes: {home: state, port: 18642}"


def load(tmp_path: Path, block: str) -> AgentSpec:
    (tmp_path / "state").mkdir(exist_ok=True)
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"agents:\n  a:\n    {block}\n    command: [/bin/node, x]\n")
    return recipes.load(file).agents[0]


def faults(spec: AgentSpec) -> list[str]:
    found = validate.check(spec.state.paths, recipes.find(spec.recipe).state_validators(spec))
    return sorted(Path(fault.path).name for fault in found)


def database(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as base:
        base.execute("create table t (x)")


@pytest.fixture
def claw(tmp_path: Path) -> AgentSpec:
    spec = load(tmp_path, OPENCLAW)
    state = tmp_path / "state"
    database(state / "state" / "openclaw.sqlite")
    database(state / "agents" / "main" / "agent" / "openclaw-agent.sqlite")
    (state / "openclaw.json").write_text("{ gateway: { mode: 'local', }, } // mine\n")
    for left_out in ("cache", "workspace"):
        (state / left_out).mkdir()
        (state / left_out / "broken.json").write_text("{")
        (state / left_out / "openclaw.sqlite").write_text("none of its own")
    return spec


def test_a_whole_openclaw_has_no_faults_whatever_lies_in_its_workspace(claw: AgentSpec) -> None:
    assert faults(claw) == []


def test_a_damaged_openclaw_is_found_by_its_databases_and_its_configuration(claw: AgentSpec, tmp_path: Path) -> None:
    (tmp_path / "state" / "agents" / "main" / "agent" / "openclaw-agent.sqlite").write_bytes(b"")
    (tmp_path / "state" / "openclaw.json").write_text("{ gateway: { mode")
    assert faults(claw) == ["openclaw-agent.sqlite", "openclaw.json"]
    (tmp_path / "state" / "openclaw.json").unlink()
    assert faults(claw) == ["openclaw-agent.sqlite", "openclaw.json"]


def test_a_configuration_outside_the_state_directory_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "claw.json5").write_text("{")
    spec = load(tmp_path, OPENCLAW.replace("port", "config: claw.json5, port"))
    assert faults(spec) == ["claw.json5"]


def test_a_damaged_hermes_is_found_before_it_starts_with_another_provider(tmp_path: Path) -> None:
    spec, state = load(tmp_path, HERMES), tmp_path / "state"
    for name in ("state.db", "response_store.db", "kanban.db", "cron/executions.db"):
        database(state / name)
    (state / "config.yaml").write_text("model: {provider: custom}\n")
    (state / "cron" / "jobs.json").write_text('{"jobs": []}')
    assert faults(spec) == []
    (state / "state.db").write_bytes(b"x" * 5_000)
    (state / "config.yaml").write_text("model: {provider: cust")
    (state / "cron" / "jobs.json").write_text('{"jobs": [')
    assert faults(spec) == ["config.yaml", "jobs.json", "state.db"]


def test_of_any_other_agent_databases_and_json_are_looked_at(tmp_path: Path) -> None:
    spec = load(tmp_path, "state: {paths: [state], exclude: [scratch/]}")
    asked = recipes.find(spec.recipe).state_validators(spec)
    assert {(one.kind, one.path) for one in asked} == {(Kind.SQLITE, "*"), (Kind.JSON_ANY, "*.json")}
    for directory in (".", "scratch", "node_modules"):
        (tmp_path / "state" / directory).mkdir(exist_ok=True)
        (tmp_path / "state" / directory / "cut.json").write_text('{"a": ')
    assert faults(spec) == ["cut.json"]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as made:
        yield made


def run(gateway: Gateway, tmp_path: Path, what: str) -> tuple[str, str]:
    config = tmp_path / "openclaw.json"
    config.write_text(json.dumps({"gateway": {"auth": {"token": "secret"}}}))
    judgement, detail, _facts = openclaw_function.look(gateway.port, str(config), {}, what)
    return judgement, detail


def test_an_idle_openclaw_rests_and_is_let_go_by_the_same_request(gateway: Gateway, tmp_path: Path) -> None:
    gateway.answers["gateway.suspend.prepare"] = {"status": "ready", "suspensionId": "s1"}
    gateway.answers["gateway.suspend.resume"] = {"ok": True, "resumed": True}
    assert run(gateway, tmp_path, "rest") == ("ok", "")
    assert run(gateway, tmp_path, "go-on") == ("ok", "")
    asked = [(method, params) for method, params in gateway.asked if method != "connect"]
    same = ("gateway.suspend.prepare", {"requestId": "holdfast-snapshot"})
    assert asked == [same, same, ("gateway.suspend.resume", {"suspensionId": "s1"})]
    assert {tuple(params["scopes"]) for method, params in gateway.asked if method == "connect"} == {("operator.admin",)}


def test_an_openclaw_at_work_is_not_held_up(gateway: Gateway, tmp_path: Path) -> None:
    blockers = [{"kind": "root-request", "message": "1 active request"}]
    gateway.answers["gateway.suspend.prepare"] = {"status": "busy", "reason": "active-work", "blockers": blockers}
    assert run(gateway, tmp_path, "rest") == ("degraded", "1 active request")
    assert run(gateway, tmp_path, "go-on") == ("ok", "")


def test_an_openclaw_that_cannot_be_asked_is_no_busy_one(gateway: Gateway, tmp_path: Path) -> None:
    assert run(gateway, tmp_path, "rest")[0] == "unknown"
    gateway.close()
    assert run(gateway, tmp_path, "rest")[0] == "unknown"
    assert threading.active_count() < 50


def test_recipes_that_know_how_say_how_their_agents_rest(tmp_path: Path) -> None:
    spec = load(tmp_path, OPENCLAW)
    ways = recipes.find("openclaw").quiesce(spec)
    assert ways is not None
    assert ways.begin.argv[-3:] == ("18801", f"{tmp_path}/state/openclaw.json", "rest")
    assert ways.end.argv[-1] == "go-on"
    assert recipes.find("hermes").quiesce(load(tmp_path, HERMES)) is None
    assert recipes.find("process").quiesce(load(tmp_path, "state: {paths: [state]}")) is None


def test_logins_that_may_have_gone_stale_are_named_where_they_are(tmp_path: Path) -> None:
    spec = load(tmp_path, OPENCLAW)
    assert len(recipes.find("openclaw").stale_after_restore(spec)) == 1
    (tmp_path / "state" / "credentials" / "whatsapp").mkdir(parents=True)
    assert "WhatsApp" in recipes.find("openclaw").stale_after_restore(spec)[1]
    spec = load(tmp_path, HERMES)
    assert recipes.find("hermes").stale_after_restore(spec) == ()
    (tmp_path / "state" / "auth.json").write_text("{}")
    (tmp_path / "state" / "platforms" / "whatsapp").mkdir(parents=True)
    logins, sessions = recipes.find("hermes").stale_after_restore(spec)
    assert "auth.json" in logins
    assert "platforms" in sessions


@pytest.mark.parametrize("block", [OPENCLAW, HERMES])
def test_a_copy_is_defined_by_the_recipe_and_reads_as_a_file(tmp_path: Path, block: str) -> None:
    spec = load(tmp_path, block)
    text = clone.definition(spec, "b", {f"{tmp_path}/state": f"{tmp_path}/copy/state"}, 18999)
    named = yaml.safe_load(text)["agents"]["b"]
    options = named[spec.recipe]
    assert options["port"] == 18999
    assert f"{tmp_path}/copy/state" in options.values()
    assert f"{tmp_path}/state" not in json.dumps(named)
    assert text.startswith("# ")
    if spec.recipe == "openclaw":
        assert named["env"]["OPENCLAW_SKIP_CHANNELS"] == "1"
    else:
        assert "platforms are not off" in text


def test_a_copy_of_any_program_keeps_its_command_and_none_of_its_environment(tmp_path: Path) -> None:
    file = tmp_path / "holdfast.yaml"
    (tmp_path / "data").mkdir()
    file.write_text(
        f"agents:\n  a:\n    command: [/bin/x, {tmp_path}/data/in, {tmp_path}/database]\n"
        "    working_dir: data\n    env: {KEY: hush}\n    state: {paths: [data]}\n"
    )
    spec = recipes.load(file).agents[0]
    text = clone.definition(spec, "b", {f"{tmp_path}/data": "/srv/copy"}, 1)
    assert yaml.safe_load(text)["agents"]["b"] == {
        "recipe": "process",
        "command": ["/bin/x", "/srv/copy/in", f"{tmp_path}/database"],
        "working_dir": "/srv/copy",
        "state": {"paths": ["/srv/copy"]},
    }
    assert "hush" not in text
