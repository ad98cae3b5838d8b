"""The Hermes recipe: its command, its planned stop, and its exits in words."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from holdfast import recipes
from holdfast.errors import HoldfastError
from holdfast.spec.model import AgentSpec, HttpProbe


def _load(tmp_path: Path, options: str = "home: hh, venv: venv, port: 18642", more: str = "") -> AgentSpec:
    program = tmp_path / "venv/bin/hermes"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch(mode=0o755)
    (tmp_path / "hh").mkdir(exist_ok=True)
    file = tmp_path / "holdfast.yaml"
    file.write_text(f"agents:\n  a:\n    recipe: hermes\n    hermes: {{{options}}}\n    {more}\n")
    return recipes.load(file).agents[0]


def test_the_recipe_gives_command_environment_and_numbers(tmp_path: Path) -> None:
    agent = _load(tmp_path)
    assert agent.command == (f"{tmp_path}/venv/bin/hermes", "gateway", "run", "--external-supervisor")
    assert agent.env["HERMES_HOME"] == agent.working_dir == f"{tmp_path}/hh"
    assert agent.env["API_SERVER_PORT"] == "18642"
    assert agent.health.http == HttpProbe(
        url="http://127.0.0.1:18642/health", expect={"status": "ok", "platform": "hermes-agent"}
    )
    assert (agent.health.start_period_s, agent.stop.signal, agent.stop.grace_s) == (120, "INT", 30)
    assert agent.memory.start_default_bytes == 250_000_000
    assert agent.ask_codes == (78,)
    assert agent.notify is True
    assert agent.secret_env == ()


def test_a_missing_installation_is_told_with_the_line_that_installs_it(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError) as caught:
        _load(tmp_path, "home: hh, venv: other")
    assert str(caught.value.detail["problems"]).endswith(
        f"agents.a.hermes.venv: found no {tmp_path}/other/bin/hermes, expected an installed Hermes: "
        f"python3 -m venv {tmp_path}/other && {tmp_path}/other/bin/pip install hermes-agent==0.19.0 aiohttp"
    )


def test_a_planned_stop_is_announced_in_hermes_own_words(tmp_path: Path) -> None:
    agent = _load(tmp_path)
    (file,) = recipes.find("hermes").before_stop(agent, 4711, 99887766, stopper_pid=12, now_at=1_700_000_000.5)
    assert file.path == f"{tmp_path}/hh/.gateway-planned-stop.json"
    record = json.loads(file.data)
    assert record == {
        "target_pid": 4711,
        "target_start_time": 99887766,
        "stopper_pid": 12,
        "written_at": "2023-11-14T22:13:20.500000+00:00",
    }
    assert datetime.fromisoformat(record["written_at"]).timestamp() == 1_700_000_000.5


def test_other_recipes_announce_nothing(tmp_path: Path) -> None:
    agent = _load(tmp_path)
    for name in ("process", "openclaw"):
        assert recipes.find(name).before_stop(agent, 1, 1, stopper_pid=1, now_at=0.0) == ()


@pytest.mark.parametrize(
    ("code", "lines", "meaning"),
    [
        (75, [], "exit 75: asked for a restart"),
        (78, [], "exit 78: fatal configuration: it will not start until corrected"),
        (78, ["Gateway multiplexer config error: two profiles"], "exit 78: fatal configuration (Gateway multiplexer"),
        (1, ["❌ Gateway already running (PID 12)."], "exit 1: another gateway uses the same HERMES_HOME (❌ Gateway"),
        (1, ["ModuleNotFoundError: No module named 'yaml'"], "exit 1: its installation is incomplete (ModuleNotFound"),
        (1, ["bye"], "exit 1: ended by a signal nobody announced to it, or a general error"),
        (1, ["ValueError: x"], "exit 1: ended with a general error (ValueError: x)"),
    ],
)
def test_exits_are_told_in_words(tmp_path: Path, code: int, lines: list[str], meaning: str) -> None:
    assert recipes.find("hermes").explain_exit(_load(tmp_path), code, None, lines).startswith(meaning)


def test_check_compares_its_own_env_file_and_never_shows_the_key(tmp_path: Path) -> None:
    _load(tmp_path)
    (tmp_path / "hh/.env").write_text("# x\nexport API_SERVER_PORT='9'\nAPI_SERVER_KEY=geheim\n")
    found = [one.text for one in recipes.check(tmp_path / "holdfast.yaml")]
    assert any("API_SERVER_PORT=9 in" in one and "expected the same port in both" in one for one in found)
    assert any("no aiohttp in" in one for one in found)
    assert any("hh/config.yaml" in one for one in found)
    assert not any("API_SERVER_KEY" in one for one in found)
    assert "geheim" not in "".join(found)
    (tmp_path / "hh/.env").unlink()
    assert any("no API_SERVER_KEY" in one.text for one in recipes.check(tmp_path / "holdfast.yaml"))
