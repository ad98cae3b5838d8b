"""`holdfast drill` on a real OpenClaw and a real Hermes in one fleet, and what a user then sees of them.

The tests share one fleet and run in the order they are written in. The gateways are installed the way users have them
(a program on PATH, a directory in the home), so that two words of holdfast.yaml are enough. About 6 minutes on two idle
cores, most of it the good minute after which an incident is closed.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.full.fake_llm import FakeLlm
from tests.full.fleet import Fleet, serving
from tests.full.hermes_home import HermesHome
from tests.full.install import Installed
from tests.full.openclaw_home import OpenclawHome

pytestmark = [pytest.mark.full, pytest.mark.timeout(1500)]

START_S = 300.0
DRILL_S = 900.0  # on a starved machine a hang is found when it is over
NAMES = ("claw", "hermes")
HEALING = ("kill", "hang")
HARMLESS = ("kill-keeper", "kill-init", "kill-all")  # to the agent
CAP_BYTES = 262_144
CAPPED_S = 150.0  # looked at every 45 s
AHEAD_S = 65.0  # of the planned restart at most: the next whole minute that is 5 s away


@pytest.fixture(scope="module")
def claw(fleet: Fleet, llm: FakeLlm, installed: Installed) -> OpenclawHome:
    return OpenclawHome.create(fleet.folder / "claw", llm.base_url, installed)


@pytest.fixture(scope="module")
def hermes(fleet: Fleet, llm: FakeLlm, installed: Installed) -> HermesHome:
    return HermesHome.create(fleet.folder / "h", llm.base_url, installed)


@pytest.fixture(scope="module")
def at_home(fleet: Fleet, claw: OpenclawHome, hermes: HermesHome, installed: Installed) -> dict[str, str]:
    """The environment of a user who has both installed: PATH and HOME lead to them."""
    user, programs = fleet.folder / "user", fleet.folder / "user" / "bin"
    programs.mkdir(parents=True)
    for name, target in (
        ("openclaw", installed.openclaw / "node_modules/.bin/openclaw"),
        ("node", installed.node),
        ("hermes", installed.hermes_main),
        ("../.openclaw", claw.state_dir),
        ("../.hermes", hermes.home),
    ):
        (programs / name).symlink_to(target)
    return {"HOME": str(user), "PATH": f"{programs}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def hangs() -> dict[str, str]:
    """Agent -> the incident of its hang; filled by the drill."""
    return {}


@pytest.fixture(autouse=True)
def as_that_user(at_home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in at_home.items():
        monkeypatch.setenv(name, value)


def declare(fleet: Fleet, **more: dict[str, Any]) -> None:
    """Both agents in two words each, and what a test adds."""
    own: dict[str, dict[str, Any]] = {
        "claw": {"recipe": "openclaw"},
        # Without its heartbeat file, which is judged by minutes, an incident of Hermes is closed after one, not three.
        "hermes": {"recipe": "hermes", "health": {"file": "off"}, "logs": {"files_max": f"{CAP_BYTES}"}},
    }
    fleet.declare({name: {**own[name], **more.get(name, {})} for name in NAMES})


def drill(fleet: Fleet, agent: str, faults: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The scorecard by fault. Its figures are shown; that each fault was caught and healed, or harmed nobody, is held.

    How fast is a matter of the machine, which this test shares with others.
    """
    chosen = [word for fault in faults for word in ("--fault", fault)]
    done = fleet.command("drill", agent, "--yes", "--json", *chosen, timeout_s=DRILL_S)
    assert done.stdout, done.stderr
    card = json.loads(done.stdout)
    for result in card["results"]:
        seen = f"caught {result['caught_s']} s of {result['caught_within_s']}"
        seen += f", restored {result['restored_s']} s of {result['restored_within_s']}"
        fleet.say(f"{agent}: {result['fault']}: {result['verdict']}: {seen}: {result['detail']}")
    assert [result["fault"] for result in card["results"]] == list(faults)
    for result in card["results"]:
        assert result["caught_s"] is not None, result
        assert result["restored_s"] is not None, result
        assert "restarted" not in result["detail"] or result["fault"] in HEALING, result
        assert "failed" not in result["detail"], result
    return {result["fault"]: result for result in card["results"]}


def test_two_words_of_the_file_start_what_is_installed(fleet: Fleet, claw: OpenclawHome, hermes: HermesHome) -> None:
    declare(fleet)
    fleet.up(START_S)
    for name, home in (("claw", claw), ("hermes", hermes)):
        fleet.wait(name, "serving", serving, START_S)
        path = "/healthz" if name == "claw" else "/health"
        assert home.get(path)[0] == 200, "it listens on the port of its own configuration"
    with (hermes.home / "logs" / "gateway-exit-diag.log").open("a") as file:  # Hermes itself never cuts this one
        file.write('{"tag": "a line of a crash loop that went on for a week"}\n' * 20_000)


@pytest.mark.parametrize("name", ["hermes", "claw"])
def test_each_promise_is_kept_on_the_real_agent(fleet: Fleet, hangs: dict[str, str], name: str) -> None:
    # Those that kill Holdfast itself are the same for all its agents: tried beside one of them.
    found = drill(fleet, name, HEALING + (HARMLESS if name == "claw" else ()))
    for fault in HEALING:
        assert found[fault]["incident"]
    hangs[name] = str(found["hang"]["incident"])


@pytest.mark.parametrize("name", NAMES)
def test_the_post_mortem_of_the_hang_names_what_is_true(fleet: Fleet, hangs: dict[str, str], name: str) -> None:
    text = fleet.must("incidents", "show", hangs[name])
    assert "It was stopped (as by SIGSTOP) and did nothing" in text
    if name == "hermes":  # py-spy reads its stack: its own loop, not the launcher in bin/
        assert "<module>" not in next((line for line in text.splitlines() if "hung in:" in line), "")


def test_what_is_shown_of_them_is_there(fleet: Fleet, claw: OpenclawHome) -> None:
    top = fleet.must("top", "--once")
    for name in NAMES:
        described = json.loads(fleet.must("describe", name, "--json"))
        assert name in top
        assert len(described["deaths"]) >= 2
        assert described["usage"]["memory_bytes"] > 20_000_000
    assert "ready" in fleet.must("logs", "claw", "--since", "30m", "--grep", "gateway. ready")
    assert claw.gateway_token not in fleet.must("logs", "claw", "--since", "30m")


def test_their_own_log_files_are_in_their_own_places_and_capped(
    fleet: Fleet, claw: OpenclawHome, hermes: HermesHome
) -> None:
    files = {name: json.loads(fleet.must("describe", name, "--json"))["spec"]["logs"]["files"] for name in NAMES}
    home = Path(os.environ["HOME"])
    assert [Path(one).name for one in files["claw"]] == ["gateway.jsonl", "*.jsonl"]
    assert (claw.state_dir / "logs" / "gateway.jsonl").stat().st_size > 0
    assert files["hermes"] == [f"{home}/.hermes/logs/*.log"]
    grown = hermes.home / "logs" / "gateway-exit-diag.log"
    fleet.wait("hermes", "its log is cut", lambda row: grown.stat().st_size <= CAP_BYTES, CAPPED_S)
    assert grown.with_name(f"{grown.name}.holdfast.zst").stat().st_size > 0, "what was cut away last is kept"
    assert grown.stat().st_uid == hermes.home.stat().st_uid


def test_a_planned_restart_is_announced_and_is_no_incident(fleet: Fleet, hermes: HermesHome) -> None:
    before = {name: fleet.wait(name, "healthy", lambda row: row["phase"] == "healthy", START_S) for name in NAMES}
    known = {name: len(fleet.incidents(name)) for name in NAMES}
    at = time.strftime("%H:%M", time.localtime(time.time() + AHEAD_S))
    declare(fleet, **{name: {"restart": {"at": at}} for name in NAMES})
    fleet.must("up", "-f", str(fleet.file), "-d")
    for name in NAMES:
        assert "planned restart" in fleet.must("describe", name)
        assert fleet.row(name)["pid"] == before[name]["pid"], "telling it when to restart is no restart"
    for name in NAMES:
        after = fleet.serving_again(name, before[name], AHEAD_S + START_S)
        assert after["restarts"] == before[name]["restarts"], "planned: it costs nothing of its budget"
        assert len(fleet.incidents(name)) == known[name]
    log = (hermes.home / "logs" / "gateway.log").read_text()
    assert "Previous gateway exited cleanly" in log.rpartition("Starting Hermes")[2] or log.count("exited cleanly")
    assert "completed cleanly" in fleet.must("logs", "claw", "--since", "10m", "--grep", "shutdown")


def test_nothing_of_them_is_left(fleet: Fleet) -> None:
    fleet.down(timeout_s=400)
    assert fleet.left_running() == []
    assert fleet.cgroups_left() == []
