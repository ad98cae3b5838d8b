"""Restores under a real keeper: by a person, by the ladder, of what does not start, and of what snapshots leave out."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome
from tests.harness.restored_agent import IN_KEEPER, killer
from tests.harness.snapshot_home import COUNTER, QUICK, Row, said, snapshots, take

# Counts in a database and in JSON; refuses to start on damaged state, and on a state that says so.
AGENT = """
import json, os, sqlite3, sys, time
where = sys.argv[1]
os.makedirs(where + "/cache", exist_ok=True)
with open(where + "/cache/starts", "a") as file:
    file.write("start\\n")
with open(where + "/../restored-from", "a") as file:
    file.write(os.environ.get("HOLDFAST_RESTORED_FROM", "-") + "\\n")
if os.path.exists(where + "/poison"):
    sys.exit(3)
base = sqlite3.connect(where + "/base.db", isolation_level=None)
base.execute("pragma journal_mode=wal")
base.execute("create table if not exists t (n integer)")
n = base.execute("select coalesce(max(n), 0) from t").fetchone()[0]
try:
    assert json.load(open(where + "/settings.json"))["kind"] == "agent"
except FileNotFoundError:
    pass
while True:
    n += 1
    base.execute("insert into t values (?)", (n,))
    with open(where + "/settings.new", "w") as file:
        json.dump({"kind": "agent", "n": n}, file)
    os.replace(where + "/settings.new", where + "/settings.json")
    time.sleep(0.05)
"""
TIER_THREE_EVERY = int(os.environ.get("HOLDFAST_RESTORE_KILLS_EVERY", "12"))
MORE = """
from holdfast.state.keeping import schedule
schedule.pause = lambda *_, **__: ''
limits.PROVEN_AFTER_S = limits.STATE_UPKEEP_LOOK_S = limits.KNOWN_GOOD_EVERY_S = 0.5
limits.RESTORE_LOOK_S = 0.2
limits.SNAPSHOT_WHILE_DOWN_S = 60.0
from holdfast.health import confirm
confirm.CONFIRM_S = {confirm_s}
"""


def home_with(confirm_s: float = 1.0, more: str = "") -> KeeperHome:
    home = KeeperHome()
    services = json.loads(home.home.services.read_text())
    argv = services["keeper"]["argv"]
    code = QUICK.replace("{more}", MORE.replace("{confirm_s}", str(confirm_s)) + more)
    services["keeper"]["argv"] = [argv[0], "-P", "-c", code, *argv[4:]]
    home.home.services.write_text(json.dumps(services))
    return home


def agent(home: KeeperHome, name: str = "one", **more: Any) -> Row:
    where = home.directory / f"state-{name}" / "data"
    where.mkdir(parents=True, exist_ok=True)
    spec: Row = home.spec(name, sys.executable, "-c", AGENT, str(where))
    spec["restart"] = {"backoff_s": [0.0, 0.2, 0.4], "window_s": 2.0}
    spec["state"] = {"paths": [str(where)], "exclude": ["cache/"], "every_s": more.pop("every_s", 3600)}
    return {**spec, **more}


def data(home: KeeperHome, name: str = "one") -> Path:
    return home.directory / f"state-{name}" / "data"


def count(home: KeeperHome, name: str = "one") -> int:
    try:
        return int(json.loads((data(home, name) / "settings.json").read_text())["n"])
    except (OSError, ValueError):
        return -1


def restore(home: KeeperHome, name: str, **asked: Any) -> Row:
    """The last line of the answer."""
    return list(home.client.messages("POST", f"/v1/agents/{name}/restore", asked))[-1]


def asides(home: KeeperHome, name: str = "one") -> list[str]:
    return [one.name for one in data(home, name).parent.iterdir() if ".holdfast-" in one.name]


def whole(path: Path) -> bool:
    """As soon as it can be read: it may be changing places."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
            return bool(base.execute("pragma integrity_check").fetchone()[0] == "ok")
    except sqlite3.Error:
        return False


def test_a_person_goes_back_and_the_agent_knows_it_and_keeps_what_snapshots_leave_out() -> None:
    home = home_with()
    try:
        home.up(agent(home))
        wait_until(lambda: count(home) > 5, "some work")
        (data(home) / "mark").write_text("before")
        first = take(home, "one", "here")["result"]["snapshot"]
        n = count(home)
        (data(home) / "mark").write_text("after")
        (data(home) / "cache" / "model").write_text("20 GB")
        wait_until(lambda: count(home) > n + 5, "more work")
        done = restore(home, "one", snapshot=first["id"])["result"]
        assert done["snapshot"] == first["id"]
        assert done["before"]
        assert done["phase"] in ("healthy", "starting")
        assert (data(home) / "mark").read_text() == "before"
        assert (data(home) / "cache" / "model").read_text() == "20 GB"
        wait_until(lambda: len((data(home) / "cache" / "starts").read_text().split()) == 2, "its second start")
        wait_until(lambda: len((data(home).parent / "restored-from").read_text().splitlines()) == 2, "what it was told")
        told = (data(home).parent / "restored-from").read_text().split("\n")
        assert told[0] == "-"
        assert told[1].startswith(first["id"])
        assert json.loads((data(home) / "RESTORED.json").read_text())["snapshot"] == first["id"]
        wait_until(lambda: not asides(home), "the former state to go")
        assert said(home, "state.restored", "one")
        assert home.incidents() == []
        back = restore(home, "one", snapshot=done["before"])["result"]
        assert (data(home) / "mark").read_text() == "after"
        assert back["warnings"] == []
        home.client.post("/v1/agents/one/restart", {"wait": True})
        home.wait_row("one", phase="healthy", instance=4)
        wait_until(lambda: len((data(home).parent / "restored-from").read_text().splitlines()) == 4, "its start")
        assert (data(home).parent / "restored-from").read_text().splitlines()[-1] == "-"
    finally:
        home.close()


@pytest.mark.parametrize("in_time", [True, False])
def test_what_an_agent_wrote_until_it_was_down_is_not_lost(in_time: bool) -> None:
    home = home_with(more="" if in_time else "limits.SNAPSHOT_WHILE_DOWN_S = 0.0\n")
    try:
        counter = [sys.executable, "-c", COUNTER, str(data(home)), "0.05"]
        home.up(agent(home, command=counter, stop={"grace_s": 60.0, "hung_grace_s": 60.0}))
        wait_until((data(home) / "count").exists, "some work")
        first = take(home, "one", "here")["result"]["snapshot"]
        done = restore(home, "one", snapshot=first["id"])["result"]
        assert not (data(home) / "last-words").exists()
        wait_until(lambda: said(home, "state.restore-kept", "one"), "the restored state to prove itself")
        if in_time:
            assert done["warnings"] == []
            assert asides(home) == []
            beside = home.directory / "look"
            restore(home, "one", snapshot=done["before"], path="last-words", to=str(beside))
            assert (beside / "last-words").read_text() == "bye"
        else:
            (tree,) = asides(home)
            assert tree in "".join(done["warnings"])
            assert (data(home).parent / tree / "last-words").read_text() == "bye"
    finally:
        home.close()


def test_a_restored_state_that_does_not_start_makes_way_for_the_former_one() -> None:
    home = home_with()
    try:
        home.up(agent(home))
        wait_until(lambda: count(home) > 3, "some work")
        (data(home) / "poison").write_text("x")
        bad = take(home, "one", "bad")["result"]["snapshot"]
        (data(home) / "poison").unlink()
        (data(home) / "cache" / "model").write_text("20 GB")
        n = count(home)
        restore(home, "one", snapshot=bad["id"])
        wait_until(lambda: said(home, "state.restore-undone", "one"), "the way back")
        home.wait_row("one", phase=lambda phase: phase in ("healthy", "recovering"))
        wait_until(lambda: count(home) > n, "work on the former state")
        assert not (data(home) / "poison").exists()
        assert (data(home) / "cache" / "model").read_text() == "20 GB"
        assert asides(home) == []
        assert not (data(home) / "RESTORED.json").exists()
    finally:
        home.close()


def corrupt(home: KeeperHome) -> int:
    """Destroy its database and cut its JSON off, then end it; how far it had counted."""
    pid, base = home.wait_row("one", pid=bool)["pid"], data(home) / "base.db"
    os.kill(pid, signal.SIGSTOP)
    n = count(home)
    for end in ("-wal", "-shm"):
        base.with_name(f"base.db{end}").unlink(missing_ok=True)
    base.write_bytes(base.read_bytes()[:100] + b"\xff" * 20_000)
    (data(home) / "settings.json").write_text('{"kind": "ag')
    os.kill(pid, signal.SIGKILL)
    return n


def test_the_ladder_brings_a_corrupted_agent_back_with_its_last_good_state() -> None:
    home = home_with()
    try:
        home.up(agent(home, every_s=0.5))
        wait_until(lambda: any(row["pins"] for row in snapshots(home, "one")), "a known-good snapshot")
        good = [row for row in snapshots(home, "one") if row["pins"]][-1]
        base = data(home) / "base.db"
        n = corrupt(home)
        wait_until(lambda: said(home, "state.restored", "one"), "tier 3")
        home.wait_row("one", phase=lambda phase: phase in ("healthy", "recovering"))
        wait_until(lambda: 0 < count(home) <= n + 1000 and whole(base), "its work to go on")
        home.wait_row("one", phase="healthy")
        wait_until(lambda: home.incidents()[-1]["outcome"] == "recovered", "the end of its incident")
        wait_until(lambda: home.incidents()[-1]["postmortem"], "a post-mortem")
        incident = home.incidents()[-1]
        wait_until(lambda: "lost" in Path(incident["postmortem"]).read_text(), "what was lost, in the post-mortem")
        text = Path(incident["postmortem"]).read_text()
        assert 3 in incident["tiers"]
        kept = asides(home)
        assert len(kept) == 1
        assert kept[0] in text
        assert good["seq"] > 0
        restored = said(home, "state.restored", "one")[0]
        assert restored["body"]["restoration"]["by"] == "ladder"
        assert base.exists()
        assert (data(home).parent / kept[0] / "settings.json").read_text() == '{"kind": "ag'
    finally:
        home.close()


def test_a_stopped_agent_stays_stopped_and_a_single_path_leaves_the_rest() -> None:
    home = home_with()
    try:
        home.up(agent(home))
        wait_until(lambda: count(home) > 3, "some work")
        (data(home) / "notes").write_text("first")
        first = take(home, "one", "here")["result"]["snapshot"]
        home.client.post("/v1/agents/one/stop", {"wait": True})
        home.wait_row("one", phase="stopped")
        (data(home) / "notes").write_text("second")
        n = count(home)
        done = restore(home, "one", snapshot=first["id"], path="notes")["result"]
        assert done["path"] == str(data(home) / "notes")
        assert done["phase"] == "stopped"
        assert (data(home) / "notes").read_text() == "first"
        assert count(home) == n
        beside = home.directory / "look"
        there = restore(home, "one", snapshot=first["id"], to=str(beside))["result"]
        assert there["to"] == str(beside)
        assert (beside / "data" / "notes").read_text() == "first"
        home.client.post("/v1/agents/one/start", {"wait": True})
        home.wait_row("one", phase="healthy", instance=2)
        wait_until(lambda: not asides(home), "the former file to go")
    finally:
        home.close()


def test_a_removed_agent_is_restored_into_the_fleet() -> None:
    home = home_with()
    try:
        home.up(agent(home))
        wait_until(lambda: count(home) > 3, "some work")
        (data(home) / "notes").write_text("mine")
        first = take(home, "one", "here")["result"]["snapshot"]
        list(home.client.messages("DELETE", "/v1/agents/one"))
        assert home.row("one") == {}
        shutil.rmtree(data(home))
        done = restore(home, "one", snapshot=first["id"])["result"]
        assert done["agent"] == "one"
        home.wait_row("one", phase="healthy")
        assert (data(home) / "notes").read_text() == "mine"
    finally:
        home.close()


def restores(home: KeeperHome) -> int | None:
    """How many are told of; None while no keeper answers."""
    try:
        return len(said(home, "state.restored", "one"))
    except HoldfastError:
        return None


def restores_so_far(home: KeeperHome) -> int:
    """As soon as a keeper answers: no answer taken for none would make an old restore pass for a new one."""
    found: list[int] = []

    def asked() -> bool:
        told = restores(home)
        found.extend([] if told is None else [told])
        return bool(found)

    wait_until(asked, "a keeper that answers")
    return found[0]


def _one_more(home: KeeperHome, before: int) -> None:
    wait_until(lambda: (restores(home) or 0) > before, "tier 3")


def test_tier_three_is_finished_by_the_next_keeper_wherever_it_is_killed(tmp_path: Path) -> None:
    home = home_with(more=f"{killer(tmp_path, 'keeper')}\n{IN_KEEPER}")
    steps, armed = tmp_path / "keeper-steps", tmp_path / "keeper-kill-at"
    try:
        spec = agent(home, every_s=0.3)
        spec["restart"]["window_s"] = 0.9  # over when it counts as healed: each time tier 3 may act again
        home.up(spec)
        number = 1
        while True:
            wait_until(lambda: any(row["pins"] for row in snapshots(home, "one")), "a known-good snapshot")
            home.wait_row("one", phase="healthy")
            before = restores_so_far(home)
            steps.unlink(missing_ok=True)
            armed.write_text(str(number))
            corrupt(home)
            _one_more(home, before)
            home.wait_row("one", phase="healthy", pid=bool)
            wait_until(lambda: count(home) > 0 and whole(data(home) / "base.db"), "its work to go on")
            home.wait_row("one", phase="healthy", pid=bool)
            if armed.exists():
                break  # there are no more steps
            number += TIER_THREE_EVERY
        assert number > 4
    finally:
        home.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run agents as other users")
def test_an_agents_files_come_back_as_its_own_also_where_only_the_inside_is_its_own() -> None:
    home = home_with()
    try:
        work, volume = home.directory / "work", home.directory / "volume" / "data"
        for path in (work, work / "data", volume, volume / "cache"):
            path.mkdir(parents=True)
            os.chown(path, 12345, 12345)
        script = 'while :; do date > "$0/now"; date > "$1/now"; sleep 0.1; done'
        spec = home.spec("own", "/bin/sh", "-c", script, str(work / "data"), str(volume))
        spec |= {"user": None, "working_dir": str(work)}
        spec["state"] = {"paths": [str(work / "data"), str(volume)], "exclude": ["cache/"], "every_s": 3600}
        home.up(spec)
        home.wait_row("own", phase="healthy")
        for path in (work / "data", volume):
            (path / "mark").write_text("before")
            os.chown(path / "mark", 12345, 12345)
        wait_until((volume / "now").exists, "its work")
        first = take(home, "own", "here")["result"]["snapshot"]
        for path in (work / "data", volume):
            (path / "mark").write_text("after")
        (volume / "cache" / "model").write_text("20 GB")
        restore(home, "own", snapshot=first["id"])
        for path in (work / "data", volume):
            assert (path / "mark").read_text() == "before"
            assert (path / "mark").stat().st_uid == path.stat().st_uid == 12345
        assert (volume / "cache" / "model").read_text() == "20 GB"
        assert (work / "data" / "RESTORED.json").stat().st_uid == 12345
        intent = home.home.path / "state" / "own" / "restore.json"
        wait_until(lambda: not intent.exists(), "the end of the restore")
        assert not [name for name in os.listdir(volume) + os.listdir(work) if ".holdfast-" in name]
        home.wait_row("own", phase="healthy")
    finally:
        home.close()
