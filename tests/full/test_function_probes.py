"""The recipes' probes of function, asked of a real OpenClaw and a real Hermes. About 2 minutes on two idle cores."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.full.fake_llm import FakeLlm
from tests.full.fleet import Fleet, serving
from tests.full.hermes_home import HermesHome
from tests.full.install import Installed
from tests.full.openclaw_home import OpenclawHome

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

START_S = 300.0
TURN_S = 120.0
HEALTH = {"function": {"interval": "5s"}}


@pytest.fixture(scope="module")
def claw(fleet: Fleet, llm: FakeLlm, installed: Installed) -> OpenclawHome:
    return OpenclawHome.create(fleet.folder / "claw", llm.base_url, installed)


@pytest.fixture(scope="module")
def hermes(fleet: Fleet, llm: FakeLlm, installed: Installed) -> HermesHome:
    return HermesHome.create(fleet.folder / "h", llm.base_url, installed)


def judged(fleet: Fleet, agent: str, source: str, judgement: str, timeout_s: float = 90.0) -> dict[str, Any]:
    """What the source says of the agent, as soon as it is that."""
    found: dict[str, Any] = {}

    def fits(row: object) -> bool:
        described = json.loads(fleet.must("describe", agent, "--json"))
        found.clear()
        found.update(next((one for one in _observed(described) if one["source"] == source), {}))
        return found.get("judgement") == judgement

    fleet.wait(agent, f"{source} says {judgement}", fits, timeout_s)
    return dict(found)


def _observed(value: object) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if "source" in value and "judgement" in value:
            return [value]
        return [one for each in value.values() for one in _observed(each)]
    return [one for each in value for one in _observed(each)] if isinstance(value, list) else []


def test_both_gateways_say_of_themselves_that_they_work(
    fleet: Fleet, claw: OpenclawHome, hermes: HermesHome, installed: Installed
) -> None:
    openclaw = {
        "install": str(installed.openclaw),
        "node": str(installed.node),
        "port": claw.port,
        "state_dir": str(claw.state_dir),
    }
    own = {"home": str(hermes.home), "venv": str(installed.hermes), "port": hermes.port}
    fleet.declare(
        {
            "claw": {"recipe": "openclaw", "openclaw": openclaw, "health": HEALTH},
            "hermes": {"recipe": "hermes", "hermes": own, "health": HEALTH},
        }
    )
    fleet.up(START_S)
    for name in ("hermes", "claw"):
        fleet.wait(name, "serving", serving, START_S)
        assert judged(fleet, name, "function", "ok")["detail"] == ""
    judged(fleet, "hermes", "file", "ok")  # its event loop writes the heartbeat


def test_hermes_whose_turns_all_fail_is_shown_and_not_restarted(fleet: Fleet, hermes: HermesHome, llm: FakeLlm) -> None:
    before = fleet.row("hermes")
    llm.answer("500")
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="error"):
                hermes.turn("say hello", TURN_S)
        found = judged(fleet, "hermes", "function", "degraded")
        assert "turns failed" in found["detail"]
    finally:
        llm.answer("ok")
    assert hermes.get("/health")[1]["status"] == "ok"
    assert "hello" in hermes.turn("say hello", TURN_S)
    judged(fleet, "hermes", "function", "ok")
    after = fleet.row("hermes")
    assert (after["instance"], after["pid"]) == (before["instance"], before["pid"])


def test_no_probe_and_no_secret_of_the_gateways_is_left_behind(
    fleet: Fleet, claw: OpenclawHome, hermes: HermesHome
) -> None:
    told = fleet.must("events") + fleet.must("describe", "claw", "--json") + fleet.must("describe", "hermes", "--json")
    assert claw.gateway_token not in told
    assert hermes.api_key not in told
    fleet.down(timeout_s=400)
    assert fleet.left_running() == []
    assert fleet.cgroups_left() == []
