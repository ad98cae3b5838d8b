"""A real OpenClaw gateway under a real Holdfast: killed, frozen, helpers, drain, port stolen, load, config.

The tests of this file share one gateway and run in the order they are written in; each begins by bringing it to
health. Restart numbers are shortened in one place, with the reason. About 8 minutes on two idle cores.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.full.fake_llm import FakeLlm
from tests.full.fleet import Fleet, Row, gone, kill, serving
from tests.full.install import Installed
from tests.full.openclaw_home import OpenclawHome
from tests.full.processes import Process, descendants
from tests.full.troubles import busy_machine, frozen, port_thief

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

NAME = "claw"
START_S = 300.0  # a start costs 8 to 20 CPU seconds; this is for a machine busy with other things
TURN_S = 120.0
GONE_S = 60.0  # reaped by a loaded machine
CONFIRMED_S = 300.0  # an incident is closed after 60 good seconds in which the machine was not starved
SLOW_TURN_S = 20.0
RESTART = {
    # The tests bring about in ten minutes the faults of a year: a failure older than a minute must not count for
    # the next one, and the recipe's 100 s between unplanned starts (OpenClaw turns its channels off after three
    # unclean starts in five minutes; no channel is used here) would fill the time with waiting.
    "window": "1m",
    "spacing": "1s",
    "retry": "10s",  # the first quiet try after the alert; a person would wait five minutes for it
}


@pytest.fixture(scope="module")
def claw(fleet: Fleet, llm: FakeLlm, installed: Installed) -> OpenclawHome:
    """The gateway's home, declared in holdfast.yaml; `holdfast up` is the first test."""
    home = OpenclawHome.create(fleet.folder / "claw", llm.base_url, installed)
    recipe = {
        "install": str(installed.openclaw),
        "node": str(installed.node),
        "port": home.port,
        "state_dir": str(home.state_dir),
    }
    # Short on purpose: under load the deadline must follow the CPU seconds the start was given, not the clock.
    health = {"start_period": "20s"}
    fleet.declare({NAME: {"recipe": "openclaw", "openclaw": recipe, "health": health, "restart": RESTART}})
    return home


def up_and_serving(fleet: Fleet) -> Row:
    """The row of the serving gateway, which is started when an earlier test left it stopped."""
    if fleet.row(NAME).get("phase") == "stopped":
        fleet.must("start", NAME)
    return fleet.wait(NAME, "serving", serving, START_S)


def stopped(fleet: Fleet) -> Row:
    fleet.must("stop", "--wait", NAME, timeout_s=400)
    return fleet.wait(NAME, "stopped", lambda row: row["phase"] == "stopped", 60)


def test_openclaw_comes_up_by_recipe_and_serves_a_turn(fleet: Fleet, claw: OpenclawHome, llm: FakeLlm) -> None:
    fleet.up(START_S)
    row = up_and_serving(fleet)
    assert row["health"]["process"] == "ok"
    assert row["health"]["endpoint"] == "ok"
    assert Process.of(row["pid"]).user == claw.state_dir.stat().st_uid
    status, body = claw.get("/startupz")
    assert (status, body["status"]) == (200, "started")
    claw.turn("say hello", TURN_S)
    assert len(llm.calls) >= 1


def test_a_killed_gateway_is_back_with_a_new_process_and_the_incident_is_told(fleet: Fleet, claw: OpenclawHome) -> None:
    before, known = up_and_serving(fleet), len(fleet.incidents(NAME))
    os.kill(before["pid"], signal.SIGKILL)
    fleet.serving_again(NAME, before, START_S)
    claw.turn("say hello again", TURN_S)
    incident = fleet.wait_recovered(NAME, known, CONFIRMED_S)
    assert incident["outcome"] == "recovered"
    assert 1 in incident["tiers"]
    assert "SIGKILL" in incident["cause"]


def test_a_frozen_gateway_is_caught_by_its_endpoint_and_restarted(fleet: Fleet, claw: OpenclawHome) -> None:
    before = up_and_serving(fleet)
    main = Process.of(before["pid"])
    with frozen(before["pid"]):
        after = fleet.serving_again(NAME, before, START_S)
        assert not main.alive
    assert after["instance"] == before["instance"] + 1
    claw.turn("say hello after the frost", TURN_S)
    assert any("did not answer" in event["text"] for event in fleet.events(NAME))


def test_a_helper_that_outlives_the_gateway_is_gone_before_the_next_start(fleet: Fleet, claw: OpenclawHome) -> None:
    before = up_and_serving(fleet)
    helpers = descendants(before["pid"])
    brokers = [helper for helper in helpers if "spawn-broker" in helper.command]
    assert brokers, f"no spawn-broker among {[helper.command for helper in helpers]}"
    assert brokers[0].session != Process.of(before["pid"]).session, "the worker is said to have a session of its own"
    with frozen(brokers[0].pid):  # by itself it would leave after two seconds
        os.kill(before["pid"], signal.SIGKILL)
        after = fleet.serving_again(NAME, before, START_S)
        assert not [helper for helper in helpers if helper.alive]
    # A gateway started beside the old helper would have exited with the config code: no such instance in between.
    assert after["instance"] == before["instance"] + 1
    claw.turn("say hello without the helper", TURN_S)


def test_a_stop_lets_the_running_turn_finish(fleet: Fleet, claw: OpenclawHome, llm: FakeLlm) -> None:
    before = up_and_serving(fleet)
    tree = [Process.of(before["pid"]), *descendants(before["pid"])]
    llm.answer("slow", SLOW_TURN_S)
    with ThreadPoolExecutor(1) as pool:
        try:
            seen = len(llm.calls)
            turn = pool.submit(claw.turn, "take your time", TURN_S)
            llm.wait_for_call(seen + 1, TURN_S)
            stopped(fleet)
            answer = turn.result(timeout=TURN_S)
        finally:
            llm.answer("ok")
    assert answer["completion"]["status"] == "ok"
    assert llm.calls[-1].answered_mono is not None
    assert not gone(tree, GONE_S)


def test_a_stolen_port_is_explained_with_the_thief_and_healed_when_it_leaves(fleet: Fleet, claw: OpenclawHome) -> None:
    up_and_serving(fleet)
    before = stopped(fleet)
    lies = {"/startupz": {"ok": True, "status": "started", "version": "2026.9.6", "uptimeMs": 86_400_000}}
    with port_thief(claw.port, {**lies, "*": {"ok": True, "status": "live"}}) as thief:
        fleet.must("start", NAME)
        row = fleet.wait(NAME, "explained", lambda row: str(thief) in row["why"], START_S)
        assert "port" in row["why"].lower()
        assert not serving(row)
    after = fleet.wait(NAME, "serving after the thief left", serving, START_S)
    assert after["instance"] - before["instance"] < 10
    claw.turn("say hello on our own port", TURN_S)


def test_a_start_slowed_by_load_is_waited_for_and_not_repeated(fleet: Fleet, claw: OpenclawHome) -> None:
    up_and_serving(fleet)
    before = stopped(fleet)
    with busy_machine(burners=3 * (os.cpu_count() or 1)):
        fleet.must("start", NAME)
        after = fleet.wait(NAME, "serving", serving, 2 * START_S)
    assert after["instance"] == before["instance"] + 1
    claw.turn("say hello after the rush", TURN_S)


def test_a_broken_config_is_explained_in_words_and_does_not_spin(fleet: Fleet, claw: OpenclawHome) -> None:
    up_and_serving(fleet)
    before = stopped(fleet)
    good = claw.config.read_bytes()
    claw.config.write_bytes(good[: len(good) // 3])
    try:
        fleet.must("start", NAME)
        row = fleet.wait(NAME, "explained", lambda row: "config" in row["why"].lower(), START_S)
        assert "78" in row["why"]
        fleet.say("watching for half a minute that it does not spin")
        time.sleep(30)
        # It exits within a second or two: a spinning supervisor would be past twenty.
        now = fleet.wait(NAME, "watched", lambda row: True, 30)
        assert now["instance"] - before["instance"] <= 6
    finally:
        claw.config.write_bytes(good)
    up_and_serving(fleet)
    claw.turn("say hello with a good config", TURN_S)


def test_after_down_nothing_of_it_is_left(fleet: Fleet, claw: OpenclawHome) -> None:
    row = up_and_serving(fleet)
    tree = [Process.of(row["pid"]), *descendants(row["pid"])]
    fleet.down(timeout_s=400)
    still = gone(tree, GONE_S)
    for process in still:
        kill(process)
    assert not still
    assert fleet.left_running() == []
    assert fleet.cgroups_left() == []
