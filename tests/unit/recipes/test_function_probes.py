"""What the recipes' probes of function make of the answers of OpenClaw and Hermes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast import recipes
from holdfast.recipes import hermes_function, openclaw_function
from holdfast.spec.model import AgentSpec

CALM = {"degraded": False, "reasons": [], "delayP99Ms": 20.5}
HEALTHY = {
    "status": "ok", "version": "0.19.0", "gateway_state": "running",
    "readiness": {"checks": {"state_db": {"status": "ok"}, "background_queues": {"status": "ok"}}},
    "platforms": {"api_server": {"state": "connected"}},
}  # fmt: skip


def channels(**accounts: dict[str, Any]) -> dict[str, Any]:
    return {
        "eventLoop": CALM,
        "channelAccounts": {name: [{"accountId": "default", **one}] for name, one in accounts.items()},
    }


@pytest.mark.parametrize(
    ("status", "judgement", "words"),
    [
        (channels(), "ok", ""),
        (channels(telegram={"enabled": True, "configured": True, "running": True, "connected": True}), "ok", ""),
        (channels(telegram={"enabled": False, "configured": True, "running": False}), "ok", ""),
        (channels(telegram={"configured": False, "running": False}), "ok", ""),
        (channels(telegram={"configured": True}), "ok", ""),
        (
            channels(telegram={"configured": True, "running": False, "lastError": "401"}),
            "degraded",
            "channel telegram does not run: 401",
        ),
        (
            channels(slack={"configured": True, "running": True, "connected": False}),
            "degraded",
            "channel slack is not connected",
        ),
        (
            {"eventLoop": {"degraded": True, "reasons": ["event_loop_delay"], "delayP99Ms": 900}},
            "degraded",
            "its event loop is degraded (event_loop_delay; 900 ms at the 99th percentile)",
        ),
        ({"eventLoop": None, "channelAccounts": {"x": "?"}}, "ok", ""),
    ],
)
def test_openclaw_is_judged_by_its_channels_and_its_event_loop(
    status: dict[str, Any], judgement: str, words: str
) -> None:
    assert openclaw_function.judge(status, {"version": "2026.9.6"})[:2] == (judgement, words)


def test_a_gateway_that_cannot_be_asked_is_unknown_never_failing(tmp_path: Path) -> None:
    config = tmp_path / "openclaw.json"
    config.write_text("{gateway: {auth: {mode: 'token', token: 'secret-token'}}}")
    judgement, detail, _ = openclaw_function.look(1, str(config), {})
    assert judgement == "unknown"
    assert "secret-token" not in detail
    config.write_text("{broken")
    assert openclaw_function.look(1, str(config), {})[0] == "unknown"
    assert openclaw_function.look(1, str(tmp_path / "none"), {})[0] == "unknown"


@pytest.mark.parametrize(
    ("text", "env", "found"),
    [
        ('{"gateway": {"auth": {"mode": "token", "token": "t"}}}', {}, {"token": "t"}),
        ("{gateway: {auth: {mode: 'token', token: 'it\\'s // no \"comment\"',},},} // end", {},
         {"token": 'it\'s // no "comment"'}),
        ("{/* a: 1 */ gateway: {auth: {token: \"${CLAW}\"}}}", {"CLAW": "t2"}, {"token": "t2"}),
        ("{gateway: {auth: {password: 'p'}}}", {}, {"password": "p"}),
        ("{}", {"OPENCLAW_GATEWAY_TOKEN": "t3"}, {"token": "t3"}),
        ("{gateway: {auth: {mode: 'none'}}}", {}, {}),
    ],
)  # fmt: skip
def test_the_token_is_found_where_openclaw_has_it(text: str, env: dict[str, str], found: dict[str, str]) -> None:
    assert openclaw_function.credentials(openclaw_function.parse_json5(text), env) == found


def test_without_a_token_it_is_said_so() -> None:
    with pytest.raises(openclaw_function.Refused):
        openclaw_function.credentials({"gateway": {"auth": {"token": {"source": "env"}}}}, {})


@pytest.mark.parametrize(
    ("change", "turns", "ticker_s", "judgement", "words"),
    [
        ({}, (0, ""), 30.0, "ok", ""),
        ({}, (0, ""), None, "ok", ""),
        ({}, (1, "Connection error."), 30.0, "ok", ""),
        ({}, (7, "Connection error."), 30.0, "degraded", "the last 7 turns failed: Connection error."),
        ({}, (0, ""), 1200.0, "degraded", "its scheduler has not ticked for 20 min"),
        (
            {"readiness": {"checks": {"config": {"status": "degraded", "error": "ParserError"}}}},
            (0, ""), 30.0, "degraded", "config is degraded (ParserError)",
        ),
        ({"platforms": {"telegram": {"state": "fatal"}}}, (0, ""), 30.0, "degraded", "platform telegram is fatal"),
        ({"readiness": "?", "platforms": []}, (0, ""), 30.0, "ok", ""),
    ],
)  # fmt: skip
def test_hermes_is_judged_by_its_checks_its_turns_and_its_scheduler(
    change: dict[str, Any], turns: tuple[int, str], ticker_s: float | None, judgement: str, words: str
) -> None:
    assert hermes_function.judge({**HEALTHY, **change}, turns, ticker_s)[:2] == (judgement, words)


FAILED = "ERROR [api-a1] agent.conversation_loop: API call failed after 3 retries. Connection error. | provider=custom"
GOOD = "INFO agent.conversation_loop: API call #1: model=fake-1 provider=custom in=10 out=2 total=12 latency=0.5s"


def log(*lines: tuple[float, str]) -> str:
    return "".join(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))},589 {text}\n" for at, text in lines)


def test_failed_turns_count_from_the_last_good_one_and_not_for_ever() -> None:
    now = 1_800_000_000.0
    failed, why = hermes_function.failed_turns(log((now - 50, FAILED), (now - 40, FAILED)), now)
    assert (failed, why) == (2, "Connection error.")
    assert hermes_function.failed_turns(log((now - 50, FAILED), (now - 40, GOOD)), now)[0] == 0
    assert hermes_function.failed_turns(log((now - 50, GOOD), (now - 40, FAILED)), now)[0] == 1
    assert hermes_function.failed_turns(log((now - 7200, FAILED), (now - 7100, FAILED)), now)[0] == 0
    assert hermes_function.failed_turns("no log line\n" + "x" * 5000, now)[0] == 0


def test_hermes_key_is_read_from_its_own_file_first(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# API_SERVER_KEY=old\nexport API_SERVER_KEY='own'\n")
    assert hermes_function.key_of(str(tmp_path), {"API_SERVER_KEY": "env"}) == "own"
    assert hermes_function.key_of(str(tmp_path / "none"), {"API_SERVER_KEY": "env"}) == "env"
    assert hermes_function.look(1, str(tmp_path), {}, time.time())[0] == "unknown"


def test_no_secret_is_in_the_command_line_of_a_probe() -> None:
    env = {"OPENCLAW_CONFIG_PATH": "/s/openclaw.json", "HERMES_HOME": "/h", "API_SERVER_KEY": "key-1234"}
    for recipe in ("openclaw", "hermes"):
        data = {"port": "1234", "home": "/h", "config": "/s/openclaw.json"}
        spec = AgentSpec(name="a", command=("x",), working_dir="/", recipe=recipe, env=env, recipe_data=data)
        probe = recipes.find(recipe).function_probe(spec)
        assert probe is not None
        assert "key-1234" not in json.dumps([*probe.argv])
        assert probe.argv[:4] == ("@python", "-I", "-S", "-c")
    assert recipes.find("process").function_probe(AgentSpec(name="a", command=("x",), working_dir="/")) is None
