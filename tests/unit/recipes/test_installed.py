"""OpenClaw and Hermes are found where they are installed, and nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast import recipes
from holdfast.recipes import installed
from holdfast.spec.model import AgentSpec


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home with an empty ~/bin on PATH and nothing else there."""
    place = tmp_path / "me"
    (place / "bin").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("PATH", str(place / "bin"))
    monkeypatch.setattr(installed, "_FOLDERS", ())
    return place


def _program(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def _load(tmp_path: Path, text: str) -> AgentSpec:
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"agents:\n  assistant: {text}\n")
    return recipes.load(file).agents[0]


NPM = "lib/node_modules/openclaw/openclaw.mjs"
PNPM_SHIM = """#!/bin/sh
basedir=$(dirname "$(echo "$0" | sed -e 's,\\\\,/,g')")
export NODE_PATH="/x"
if [ -x "$basedir/node" ]; then
  exec "$basedir/node"  "$basedir/../store/node_modules/openclaw/openclaw.mjs" "$@"
else
  exec node  "$basedir/../store/node_modules/openclaw/openclaw.mjs" "$@"
fi
"""


def test_the_link_that_npm_makes_leads_to_openclaw(home: Path) -> None:
    script = _program(home / NPM, "#!/usr/bin/env node\n")
    (home / "bin/openclaw").symlink_to(f"../{NPM}")
    assert installed.openclaw_script(installed.program("openclaw")) == str(script)


def test_the_shell_script_that_pnpm_makes_leads_to_openclaw(home: Path) -> None:
    script = _program(home / "store/node_modules/openclaw/openclaw.mjs")
    shim = _program(home / "bin/openclaw", PNPM_SHIM)
    assert installed.openclaw_script(str(shim)) == str(script)


@pytest.mark.parametrize(
    "text", ["#!/bin/sh\nexec something-else\n", "#!/bin/sh\nexec '/gone/openclaw.mjs' \n", "\x7fELF"]
)
def test_a_program_that_does_not_say_what_it_starts_is_no_openclaw(home: Path, text: str) -> None:
    assert installed.openclaw_script(str(_program(home / "bin/openclaw", text))) == ""


def test_two_words_are_enough_for_an_installed_openclaw(home: Path, tmp_path: Path) -> None:
    script = _program(home / NPM)
    (home / "bin/openclaw").symlink_to(f"../{NPM}")
    node = _program(home / "bin/node")
    (home / ".openclaw").mkdir()
    (home / ".openclaw/openclaw.json").write_text("{ // mine\n gateway: {port: 18999, mode: 'local'},}")
    agent = _load(tmp_path, '{recipe: openclaw, priority: 100, restart: {at: "04:00 Europe/Berlin"}}')
    assert agent.command == (str(node), str(script), "gateway", "run", "--port", "18999")
    assert agent.working_dir == agent.env["OPENCLAW_STATE_DIR"] == str(home / ".openclaw")
    assert agent.recipe_data["install"] == str(home / "lib")


def _hermes(environment: Path) -> Path:
    (environment / "lib/python3.11/site-packages/hermes_agent-0.19.0.dist-info").mkdir(parents=True)
    return _program(environment / "bin/hermes", f"#!{environment}/bin/python\nfrom hermes_cli.main import main\n")


@pytest.mark.parametrize("how", ["link", "script", "itself"])
def test_two_words_are_enough_for_an_installed_hermes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    program = _hermes(home / "tools/hermes")
    if how == "link":
        (home / "bin/hermes").symlink_to(program)
    elif how == "script":
        _program(home / "bin/hermes", f'#!/usr/bin/env bash\nunset PYTHONPATH\nexec "{program}" "$@"\n')
    else:
        monkeypatch.setenv("PATH", str(program.parent))
    (home / ".hermes").mkdir()
    (home / ".hermes/.env").write_text("API_SERVER_PORT=8777\n")
    agent = _load(tmp_path, "{recipe: hermes}")
    assert agent.command == (str(program), "gateway", "run", "--external-supervisor")
    assert agent.env["HERMES_HOME"] == str(home / ".hermes")
    assert agent.env["API_SERVER_PORT"] == "8777"


def test_another_program_called_hermes_is_not_taken(home: Path) -> None:
    assert installed.hermes_environment(str(_program(home / "bin/hermes", "\x7fELF"))) == ""


def test_a_service_with_a_short_path_finds_what_the_users_shell_finds(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    program = _program(home / ".local/bin/hermes")
    assert installed.program("hermes") == str(program)


def test_what_is_written_in_the_file_is_stronger_than_what_is_found(home: Path, tmp_path: Path) -> None:
    (home / ".openclaw").mkdir()
    agent = _load(tmp_path, "{recipe: openclaw, command: [./x], openclaw: {state_dir: s, port: 18001}}")
    assert agent.env["OPENCLAW_STATE_DIR"] == f"{tmp_path}/s"
    assert agent.env["OPENCLAW_GATEWAY_PORT"] == "18001"


@pytest.mark.parametrize("config", ["", "[", "[]", '{"gateway": 3}', '{"gateway": {"port": "x"}}', "{a: " * 5_000])
def test_a_broken_configuration_leaves_the_usual_port(home: Path, tmp_path: Path, config: str) -> None:
    (home / ".openclaw").mkdir()
    (home / ".openclaw/openclaw.json").write_text(config)
    assert _load(tmp_path, "{recipe: openclaw, command: [./x]}").env["OPENCLAW_GATEWAY_PORT"] == "18789"


def test_its_log_files_are_capped_wherever_it_writes_them(home: Path, tmp_path: Path) -> None:
    own = home / ".openclaw"
    own.mkdir()
    config = own / "openclaw.json"
    config.write_text("{}")
    inside = f"{own}/logs/*.jsonl"
    assert _load(tmp_path, "{recipe: openclaw, command: [x]}").logs.files == ("/tmp/openclaw/openclaw-*.log", inside)
    config.write_text(json.dumps({"logging": {"file": "~/claw.log"}}))
    assert _load(tmp_path, "{recipe: openclaw, command: [x]}").logs.files == (f"{home}/claw.log", inside)
    (home / ".hermes").mkdir()
    assert _load(tmp_path, "{recipe: hermes, command: [x]}").logs.files == (f"{home}/.hermes/logs/*.log",)


def test_a_log_that_is_shared_with_other_gateways_is_told(home: Path, tmp_path: Path) -> None:
    own = home / ".openclaw"
    own.mkdir()
    config = own / "openclaw.json"
    config.write_text('{"gateway": {"mode": "local"}}')
    agent = _load(tmp_path, "{recipe: openclaw, command: [x]}")
    (finding,) = recipes.find("openclaw").check(agent)
    assert finding.severity == "warning"
    assert finding.expected.endswith(f"openclaw config set logging.file {own}/logs/gateway.jsonl")
    config.write_text('{"logging": {"file": "/var/log/claw.jsonl"}}')
    assert recipes.find("openclaw").check(agent) == ()
