"""Versions of state with a real OpenClaw and a real Hermes: kept while they work, damaged, brought back, gone back to.

The tests of this file share both gateways and run in the order they are written in. Snapshots are made every few
seconds and are known-good after a quarter of an hour; no test waits for that: what is restored here is what the ladder
chooses without one. HOLDFAST_TEST_IDLE_S: how long idle gateways are watched. About 10 minutes on two idle cores.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.full.fake_llm import FakeLlm
from tests.full.fleet import Fleet, Row, serving
from tests.full.hermes_home import HermesHome
from tests.full.install import Installed
from tests.full.openclaw_home import OpenclawHome

pytestmark = [pytest.mark.full, pytest.mark.timeout(1200)]

START_S = 300.0
TURN_S = 120.0
IDLE_S = float(os.environ.get("HOLDFAST_TEST_IDLE_S", "120"))
HEALED_S = 420.0  # tier 3 of OpenClaw: it dies, is looked at, restored, and starts, which alone costs 20 CPU seconds
CONFIRMED_S = 300.0  # an incident is closed after 60 good seconds in which the machine was not starved
# As in the other tests of real agents: the faults of a year in ten minutes must not count for each other.
RESTART = {"window": "1m", "spacing": "1s", "retry": "10s"}
STATE = {"every": "5s"}


@pytest.fixture(scope="module")
def claw(fleet: Fleet, llm: FakeLlm, installed: Installed) -> OpenclawHome:
    return OpenclawHome.create(fleet.folder / "claw", llm.base_url, installed)


@pytest.fixture(scope="module")
def hermes(fleet: Fleet, llm: FakeLlm, installed: Installed) -> HermesHome:
    return HermesHome.create(fleet.folder / "h", llm.base_url, installed)


def snapshots(fleet: Fleet, agent: str) -> list[Row]:
    """Oldest first."""
    found: list[Row] = json.loads(fleet.must("snapshots", agent, "--json"))["snapshots"]
    return sorted(found, key=lambda row: int(row["seq"]))


def take(fleet: Fleet, agent: str, label: str) -> Row:
    done = json.loads(fleet.must("snapshot", agent, "--label", label, "--json"))
    row: Row = {**done["snapshot"], "note": done.get("note", "")}
    return row


def take_at_rest(fleet: Fleet, agent: str, label: str) -> Row:
    """As soon as nothing is under way: OpenClaw goes on for a moment after a turn was answered."""
    deadline = time.monotonic() + TURN_S
    while True:
        row = take(fleet, agent, label)
        if row["rest"] == "quiesced" or time.monotonic() > deadline:
            return row
        fleet.say(f"{agent}: {row['note']}")


def damaged(fleet: Fleet, agent: str, harm: Callable[[], None]) -> Row:
    """Stop it, harm its state, start it; the row when tier 3 has brought it back. The newest incident is told."""
    if fleet.incidents(agent):  # of an earlier test: tier 3 is done once in an incident
        fleet.wait_recovered(agent, len(fleet.incidents(agent)) - 1, CONFIRMED_S)
    before, known = fleet.row(agent), len(fleet.incidents(agent))
    fleet.must("stop", "--wait", agent, timeout_s=400)
    harm()
    fleet.must("start", agent)
    restored = [one for one in fleet.events(agent) if one["kind"] == "state.restored"]

    def is_back(row: Row) -> bool:
        now = [one for one in fleet.events(agent) if one["kind"] == "state.restored"]
        return len(now) > len(restored) and serving(row)

    row = fleet.wait(agent, "restored and serving", is_back, HEALED_S)
    assert row["instance"] > before["instance"]
    incident = max(fleet.incidents(agent), key=lambda one: str(one["id"]))
    assert len(fleet.incidents(agent)) == known + 1
    assert 3 in incident["tiers"], incident
    return incident


def whole(path: Path) -> bool:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        return bool(base.execute("pragma integrity_check").fetchone()[0] == "ok")


def overwrite(path: Path, data: bytes) -> None:
    """In place: the file keeps its owner. Its log goes, as it does when a disk was full or a tool 'repaired' it."""
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(data)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def test_both_are_kept_while_they_work_and_openclaw_rests_for_a_snapshot_that_is_asked_for(
    fleet: Fleet, claw: OpenclawHome, hermes: HermesHome, installed: Installed, llm: FakeLlm
) -> None:
    openclaw = {
        "install": str(installed.openclaw), "node": str(installed.node), "port": claw.port,
        "state_dir": str(claw.state_dir),
    }  # fmt: skip
    own = {"home": str(hermes.home), "venv": str(installed.hermes), "port": hermes.port}
    more = {"restart": RESTART, "state": STATE}
    fleet.declare(
        {
            "claw": {"recipe": "openclaw", "openclaw": openclaw, **more},
            "hermes": {"recipe": "hermes", "hermes": own, **more},
        }
    )
    fleet.up(START_S)
    for name in ("hermes", "claw"):
        fleet.wait(name, "serving", serving, START_S)
    claw.turn("say hello", TURN_S)
    hermes.turn("say hello", TURN_S)
    for name in ("hermes", "claw"):
        row = (take_at_rest if name == "claw" else take)(fleet, name, "after the first turn")
        assert row["consistency"] == "guard", row
        fleet.say(f"{name}: {row['files']} files, {row['bytes']} bytes, {row['bytes_new']} new, {row['took_s']:.2f} s")
        assert row["rest"] == ("quiesced" if name == "claw" else ""), row
    claw.turn("say hello after the rest", TURN_S)
    llm.answer("slow", 15.0)
    try:
        with ThreadPoolExecutor(1) as pool:
            seen = len(llm.calls)
            turn = pool.submit(claw.turn, "take your time", TURN_S)
            llm.wait_for_call(seen + 1, TURN_S)
            row = take(fleet, "claw", "in the middle of a turn")
            turn.result(timeout=TURN_S)
    finally:
        llm.answer("ok")
    assert row["rest"] == "busy", row
    assert "not at rest: " in row["note"], row


def _made_idle(fleet: Fleet) -> dict[str, list[dict[str, Any]]]:
    """The snapshots that were made while nobody asked the gateways for anything."""
    time.sleep(10)  # what the last turn left behind is written
    before = {name: snapshots(fleet, name)[-1]["seq"] for name in ("claw", "hermes")}
    fleet.say(f"watching idle gateways for {IDLE_S:.0f} s")
    time.sleep(IDLE_S)
    return {name: [row for row in snapshots(fleet, name) if row["seq"] > before[name]] for name in before}


def test_what_changes_in_idleness_makes_few_snapshots(fleet: Fleet, claw: OpenclawHome, hermes: HermesHome) -> None:
    made = _made_idle(fleet)
    if len(made["hermes"]) > 1:
        made = _made_idle(fleet)  # it was still about what the last turn had left behind
    for name, rows in made.items():
        fleet.say(
            f"{name}: {len(rows)} snapshots in {IDLE_S:.0f} idle s, {sum(row['bytes_new'] for row in rows)} bytes"
        )
    assert len(made["hermes"]) <= 1, made["hermes"]  # every 5 s one was due
    # OpenClaw renews a lease in its main database every 30 s: these are kept, and must be small.
    assert len(made["claw"]) <= 2 + IDLE_S / 30, made["claw"]
    assert all(row["bytes_new"] < 65_536 for row in made["claw"]), made["claw"]


def test_a_hermes_whose_database_was_overwritten_is_brought_back(fleet: Fleet, hermes: HermesHome) -> None:
    damaged(fleet, "hermes", lambda: overwrite(hermes.home / "state.db", os.urandom(100_000)))
    assert whole(hermes.home / "state.db")
    assert "hello" in hermes.turn("say hello", TURN_S)


def test_an_openclaw_whose_database_was_cut_off_is_brought_back(fleet: Fleet, claw: OpenclawHome) -> None:
    path = claw.state_dir / "state" / "openclaw.sqlite"
    damaged(fleet, "claw", lambda: overwrite(path, path.read_bytes()[:50_000]))
    assert whole(path)
    claw.turn("say hello", TURN_S)


def test_an_openclaw_whose_configuration_was_cut_off_is_brought_back(fleet: Fleet, claw: OpenclawHome) -> None:
    good = claw.config.read_bytes()
    damaged(fleet, "claw", lambda: overwrite(claw.config, good[: len(good) // 2]))
    assert json.loads(claw.config.read_bytes()) == json.loads(good)
    claw.turn("say hello", TURN_S)


def test_a_person_goes_back_to_yesterday_and_both_serve_a_turn(
    fleet: Fleet, claw: OpenclawHome, hermes: HermesHome
) -> None:
    homes: dict[str, tuple[Path, Callable[[str, float], Any]]] = {
        "claw": (claw.state_dir, claw.turn), "hermes": (hermes.home, hermes.turn),
    }  # fmt: skip
    for name, (directory, turn) in homes.items():
        row = [row for row in snapshots(fleet, name) if row["label"] == "after the first turn"][-1]
        (directory / "made-today").write_text("x")
        plan = json.loads(fleet.must("restore", name, row["id"][:12], "--dry-run", "--json", timeout_s=120))
        assert plan["snapshot"]["id"] == row["id"]
        if name == "claw":
            assert any("OAuth" in text for text in plan["warnings"]), plan["warnings"]
        before = fleet.row(name)
        done = json.loads(fleet.must("restore", name, row["id"][:12], "--yes", "--json", timeout_s=500))
        fleet.say(f"{name}: restored in {done['took_s']:.1f} s, it is {done['phase']}")
        assert not (directory / "made-today").exists()
        fleet.serving_again(name, before, START_S)
        turn("say hello from yesterday", TURN_S)


def test_a_copy_beside_the_original_is_defined_with_its_channels_off(fleet: Fleet, claw: OpenclawHome) -> None:
    to, copy = fleet.folder / "copy", fleet.folder / "copy.yaml"
    copy.write_text(fleet.must("restore", "claw", "--to", str(to), "--as", "claw-copy", timeout_s=120))
    fleet.must("check", "-f", str(copy))
    named = json.loads(fleet.must("check", "-f", str(copy), "--explain", "--json"))
    assert "OPENCLAW_SKIP_CHANNELS" in json.dumps(named)
    assert str(claw.state_dir) not in copy.read_text()
    assert whole(to / "state" / "state" / "openclaw.sqlite")
    assert (to / "state").stat().st_uid == claw.state_dir.stat().st_uid


def test_after_down_nothing_is_left_and_no_secret_was_told(
    fleet: Fleet, claw: OpenclawHome, hermes: HermesHome
) -> None:
    told = fleet.must("events") + "".join(fleet.must("snapshots", name, "--json") for name in ("claw", "hermes"))
    assert claw.gateway_token not in told
    assert hermes.api_key not in told
    fleet.down(timeout_s=400)
    assert fleet.left_running() == []
