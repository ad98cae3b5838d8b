"""Snapshots under a real keeper: by the clock, before stops, on demand, through kills of worker and keeper."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.harness.init_home import wait_until
from tests.harness.snapshot_home import NO_PAUSES, Row, counter, home_with, said, snapshots, take, worker_pids


def test_a_working_agent_is_kept_by_the_clock_and_before_its_stop_and_an_idle_one_only_once() -> None:
    home = home_with()
    try:
        home.up(counter(home, "busy", every_s=0.5), counter(home, "idle", pause_s=3600, every_s=0.5))
        wait_until(lambda: len(snapshots(home, "busy")) >= 5, "five snapshots of one that works")
        assert all(row["cause"] == "timer" for row in snapshots(home, "busy"))
        idle = snapshots(home, "idle")
        assert len(idle) <= 3  # it may have been seen before it wrote its only file, and in the middle of that
        home.client.post("/v1/agents/busy/stop", {"wait": True})
        home.wait_row("busy", phase="stopped")

        def causes() -> list[str]:
            return [row["cause"] for row in snapshots(home, "busy")]

        wait_until(lambda: "stop" in causes() and causes()[-1] == "timer", "what it wrote last is kept too")
        rows = snapshots(home, "busy")
        assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
        wait_until(lambda: len(said(home, "snapshot.taken", "busy")) == len(rows), "each of them is told")
    finally:
        home.close()


def test_kills_of_worker_and_keeper_lose_nothing_and_the_next_snapshot_is_made() -> None:
    home = home_with()
    try:
        home.up(counter(home, "busy", every_s=0.3))
        wait_until(lambda: snapshots(home, "busy"), "a snapshot")
        for _ in range(3):
            before = len(snapshots(home, "busy"))
            for pid in worker_pids(home):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda seen=before: len(snapshots(home, "busy")) > seen + 1, "snapshots after a worker's death")
        before = len(snapshots(home, "busy"))
        keeper, workers = home.process("keeper")["pid"], worker_pids(home)
        os.kill(keeper, signal.SIGKILL)
        home.wait_back("keeper", keeper)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the end of its worker")
        wait_until(lambda: len(snapshots(home, "busy")) > before + 1, "snapshots after the keeper's death")
        rows = snapshots(home, "busy")
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        assert not any(row["damaged"] for row in rows)
        assert home.row("busy")["instance"] == 1
    finally:
        home.close()


def test_a_label_is_kept_and_a_state_that_cannot_be_read_is_said_and_tried_again() -> None:
    home = home_with()
    try:
        spec = counter(home, "one", pause_s=3600, every_s=0.3)
        where = Path(spec["state"]["paths"][0])
        home.up(spec, counter(home, "other", every_s=0.3))
        wait_until((where / "count").exists, "its file")
        taken = take(home, "one", "before the journey")["result"]["snapshot"]
        assert (taken["label"], taken["cause"], taken["files"]) == ("before the journey", "manual", 1)
        aside = where.with_name("aside")
        where.rename(aside)
        where.symlink_to(aside)
        wait_until(lambda: said(home, "snapshot.failed", "one"), "a failure that is said")
        wait_until(lambda: any(found["code"] == "HF6040" for found in home.status()["warnings"]), "a warning")
        before = len(snapshots(home, "other"))
        wait_until(lambda: len(snapshots(home, "other")) > before, "others are not held up")
        where.unlink()
        aside.rename(where)
        wait_until(lambda: said(home, "snapshot.recovered", "one"), "that it goes again")
        assert len(said(home, "snapshot.failed", "one")) == 1
    finally:
        home.close()


def test_a_changed_definition_is_applied_after_a_snapshot_of_what_was() -> None:
    home = home_with()
    try:
        spec = counter(home, "one", every_s=3600)
        home.up(spec)
        home.wait_row("one", phase="healthy")
        home.put({**spec, "env": {"NEW": "1"}})
        home.wait_row("one", phase="healthy", instance=2)
        assert "config" in [row["cause"] for row in snapshots(home, "one")]
    finally:
        home.close()


def test_a_removed_agent_leaves_its_files_and_comes_back_with_its_snapshots() -> None:
    home = home_with()
    try:
        spec = counter(home, "one", every_s=3600)
        home.up({**spec, "env": {"TOKEN": "s3cret"}, "secret_env": ["TOKEN"]}, counter(home, "two"))
        home.wait_row("one", phase="healthy")
        take(home, "one", "mine")
        count = Path(spec["state"]["paths"][0], "count")
        then = count.read_text()
        wait_until(lambda: count.read_text() != then, "something new to keep")
        removed = list(home.client.messages("DELETE", "/v1/agents/one"))[-1]["result"]
        assert removed["paths"] == spec["state"]["paths"]
        assert home.row("one") == {}
        home.wait_row("two", phase="healthy")
        assert count.exists()
        kept = home.home.path / "state" / "one" / "deleted.json"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert [row["agent"] for row in home.client.get("/v1/deleted")["agents"]] == ["one"]
        assert all(row["deleted_until"] for row in snapshots(home, "one"))
        assert b'"versions":[{' in b"".join(home.client.pieces("/v1/agents/one/state/log", {"path": "count"}))
        read = home.client.pieces("/v1/agents/one/state/cat", {"snapshot": "newest", "path": "count"})
        assert int(b"".join(read)) > 0
        back = list(home.client.messages("POST", "/v1/agents/one/undelete", {}))[-1]["result"]
        assert back["snapshots"] >= 2
        home.wait_row("one", phase="healthy")
        rows = snapshots(home, "one")
        assert "mine" in [row["label"] for row in rows]
        assert "remove" in [row["cause"] for row in rows]
        assert not kept.exists()
    finally:
        home.close()


def test_a_removed_agent_nobody_can_have_back_any_more_leaves_nothing_but_its_files() -> None:
    briefly = "limits.TRASH_S = limits.TRASH_AGENT_S = 1.0"
    often = "limits.STATE_CLEAR_EVERY_S = limits.STATE_UPKEEP_LOOK_S = 0.5"
    home = home_with(f"{NO_PAUSES}\n{briefly}\n{often}", in_worker=f"from holdfast import limits\n{briefly}")
    try:
        spec = counter(home, "one", every_s=3600)
        home.up(spec, counter(home, "two", every_s=3600))
        home.wait_row("one", phase="healthy")
        take(home, "one")
        take(home, "two")
        list(home.client.messages("DELETE", "/v1/agents/one"))
        wait_until(lambda: not (home.home.path / "state" / "one").exists(), "the end of its trash")
        wait_until(lambda: said(home, "agent.cleared", "one"), "it is told")
        wait_until(lambda: home.client.get("/v1/deleted")["agents"] == [], "it is known no more")
        assert Path(spec["state"]["paths"][0], "count").exists()
        assert len(snapshots(home, "two")) == 1
    finally:
        home.close()


def test_an_agent_that_stays_well_makes_its_snapshot_known_good() -> None:
    home = home_with(
        NO_PAUSES + "\nlimits.PROVEN_AFTER_S = limits.STATE_UPKEEP_LOOK_S = limits.KNOWN_GOOD_EVERY_S = 0.5"
    )
    try:
        home.up(counter(home, "one", every_s=0.2))

        def good() -> list[Row]:
            return [row for row in snapshots(home, "one") if "known-good" in row["pins"]]

        wait_until(lambda: len(said(home, "snapshot.known-good", "one")) >= 3, "three times known-good")
        assert 1 <= len(good()) <= 2
    finally:
        home.close()
