"""Bad days of snapshots under a real keeper: no room, no second place, wrong clocks, two writers, flipped bits."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import HoldfastError
from holdfast.state.store.writing import lock
from tests.harness import dead_mount
from tests.harness.init_home import wait_until
from tests.harness.keeper_home import KeeperHome
from tests.harness.snapshot_home import NO_PAUSES, Row, counter, home_with, said, snapshots, take

QUICK_CHORES = (
    NO_PAUSES
    + """
limits.STATE_UPKEEP_LOOK_S = 0.3
from holdfast.keeper.state import state_upkeep
state_upkeep.CHORES["closure"] = state_upkeep.CHORES["closure"]._replace(every_s=0.5)
state_upkeep.CHORES["tidy"] = state_upkeep.CHORES["tidy"]._replace(every_s=0.5)
"""
)
SHIFTED = """
import time
from pathlib import Path
real = time.time
time.time = lambda: real() + float(Path({path!r}).read_text())
"""


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of 48 MB of its own."""
    why = dead_mount.why_not()
    if why:
        pytest.skip(f"a disk that can be filled up needs a mount: {why}")
    path = Path(tempfile.mkdtemp(prefix="hf-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=755", "none", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
        path.rmdir()


def refusal(home: KeeperHome, what: str, body: Row) -> Row:
    """The error of work on `one`: at once, or as the last word of an answer that had begun."""
    try:
        error: Row = list(home.client.messages("POST", f"/v1/agents/one/{what}", body))[-1]["error"]
    except HoldfastError as early:
        return {"code": early.kind.code, "message": early.summary}
    return error


def still(home: KeeperHome, name: str = "one", **state: Any) -> tuple[Row, Path]:
    """An agent that writes once and waits, and where its state is."""
    spec = counter(home, name, pause_s=3600, every_s=3600.0, **state)
    return spec, Path(spec["state"]["paths"][0])


def up(home: KeeperHome, *specs: Row) -> None:
    home.up(*specs)
    for spec in specs:
        wait_until(Path(spec["state"]["paths"][0], "count").exists, "its first file")


def test_a_full_disk_leaves_nothing_half_and_the_next_snapshot_works_when_there_is_room() -> None:
    with small_disk() as disk:
        home = home_with(below=str(disk))
        elsewhere = Path(tempfile.mkdtemp(prefix="hf-"))
        try:
            spec, _ = still(home)
            spec["command"][-2], spec["state"]["paths"] = str(elsewhere), [str(elsewhere)]
            up(home, spec)
            first = take(home, "one", "first")["result"]["snapshot"]
            (elsewhere / "large").write_bytes(os.urandom(8_000_000))
            filler = disk / "filler"
            room = os.statvfs(disk)
            with filler.open("wb") as file:
                file.write(bytes(max(0, room.f_bavail * room.f_frsize - 3_000_000)))
            full = refusal(home, "snapshots", {"label": "no room"})
            assert full["code"] == "HF4001"
            assert "snapshots made before can be restored" in full["message"]
            (told,) = wait_until(lambda: said(home, "snapshot.failed", "one"), "a failure that is said")
            assert f"the newest that can be restored is {first['id'][:12]}" in told["text"]
            assert [row["id"] for row in snapshots(home, "one")] == [first["id"]]
            listed = home.client.get("/v1/agents/one/snapshots")["trouble"]
            assert any("The last snapshot could not be made" in sentence for sentence in listed)
            filler.unlink()
            second = take(home, "one", "room again")["result"]["snapshot"]
            assert second["seq"] == first["seq"] + 1
            checked = list(home.client.messages("POST", "/v1/agents/one/state/verify", {"all": True}))[-1]["result"]
            assert (checked["snapshots"], checked["restorable"], checked["faults"]) == (2, 2, [])
            repo = home.home.path / "state" / "one" / "repo"
            wait_until(lambda: not list(repo.rglob("*tmp*")), "nothing half is left")
            wait_until(lambda: said(home, "snapshot.recovered", "one"), "that it goes again")
            assert home.row("one")["instance"] == 1
        finally:
            home.close()
            shutil.rmtree(elsewhere)


def test_memory_pressure_pauses_the_clock_only_and_is_said_until_it_is_over(tmp_path: Path) -> None:
    """The pressure is what a file says: a machine cannot be starved on request."""
    short = tmp_path / "short"
    short.touch()
    home = home_with(
        "from pathlib import Path\nfrom holdfast.state.keeping import schedule\nlimits.SNAPSHOT_PAUSED_LOOK_S = 0.1\n"
        f"schedule.pause = lambda *_, **__: 'memory is short' if Path({str(short)!r}).exists() else ''"
    )
    try:
        home.up(counter(home, "one", every_s=0.2))
        wait_until(lambda: said(home, "snapshot.paused"), "a pause that is said")
        assert [found["code"] for found in home.status()["warnings"] if found["code"] == "HF6041"] == ["HF6041"]
        assert snapshots(home, "one") == []
        assert take(home, "one", "asked for")["result"]["snapshot"]["cause"] == "manual"
        short.unlink()
        wait_until(lambda: len(snapshots(home, "one")) >= 3, "snapshots by the clock")
        assert len(said(home, "snapshot.paused")) == len(said(home, "snapshot.resumed")) == 1
        assert "HF6041" not in [found["code"] for found in home.status()["warnings"]]
    finally:
        home.close()


def test_a_second_place_that_is_gone_is_alerted_and_catches_up_when_it_is_back(tmp_path: Path) -> None:
    home = home_with(
        NO_PAUSES + "\nlimits.STATE_UPKEEP_LOOK_S = limits.UPLOAD_AGAIN_FIRST_S = limits.UPLOAD_AGAIN_LONGEST_S = 0.3",
        in_worker="from holdfast import limits\nlimits.REMOTE_LAG_ALERT_S = 0.0",
    )
    second, away = tmp_path / "second", tmp_path / "away"
    second.mkdir()
    try:
        spec, live = still(home, store=str(second), store_every_s=0.1)
        up(home, spec)
        take(home, "one", "first")
        wait_until(lambda: snapshots(home, "one")[-1]["remote"], "the first one there")
        second.rename(away)
        (live / "more").write_text("x")
        take(home, "one", "second")

        def warned() -> list[str]:
            return [found["message"] for found in home.status()["warnings"] if found["code"] == "HF6030"]

        # An upload that was under way when it went says so in other words first.
        wait_until(lambda: [told for told in warned() if "is not there" in told], "a warning about the lag")
        wait_until(lambda: said(home, "resource.alarm", "one"), "an alert")
        assert not snapshots(home, "one")[-1]["remote"]
        assert home.row("one")["phase"] in ("healthy", "starting")
        away.rename(second)
        wait_until(lambda: snapshots(home, "one")[-1]["remote"], "that it caught up")
        wait_until(lambda: said(home, "resource.well", "one"), "the end of the alert")
        wait_until(lambda: warned() == [], "the end of the warning")
        wait_until(lambda: said(home, "upload.recovered", "one"), "that it is said")
    finally:
        home.close()


def test_a_clock_that_is_set_back_a_year_and_forward_ten_deletes_nothing(tmp_path: Path) -> None:
    shift, trial = tmp_path / "shift", tmp_path / "shift.new"
    shift.write_text("0")
    home = home_with(QUICK_CHORES + SHIFTED.format(path=str(shift)), in_worker=SHIFTED.format(path=str(shift)))
    try:
        spec, live = still(home)
        up(home, spec)
        made: list[str] = []
        tidied = home.home.path / "state" / "one" / "chores.json"
        for number, years in enumerate((0, -1, 10, 0)):
            trial.write_text(str(years * 365 * 86_400))
            trial.replace(shift)
            for half in (0, 1):
                (live / "note").write_text(f"{number} {half}")
                made.append(take(home, "one", "")["result"]["snapshot"]["id"])
            before = tidied.read_text() if tidied.exists() else ""
            wait_until(partial(_other, tidied, before), "chores by that clock")
        rows = snapshots(home, "one")
        assert [row["id"] for row in rows] == made
        assert not said(home, "snapshot.thinned")
        checked = list(home.client.messages("POST", "/v1/agents/one/state/verify", {"all": True}))[-1]["result"]
        assert (checked["restorable"], checked["faults"]) == (len(made), [])
    finally:
        home.close()


def _other(path: Path, former: str) -> bool:
    return path.exists() and path.read_text() != former


def test_two_writers_never_mix_and_the_one_that_waits_in_vain_is_told_who_writes() -> None:
    home = home_with(in_worker="from holdfast import limits\nlimits.WORKER_JOB_ENDS_S = 0.0")
    try:
        spec, live = still(home)
        up(home, spec)
        first = take(home, "one", "first")["result"]["snapshot"]
        (live / "more").write_text("x")
        with lock(home.home.path / "state" / "one") as held:  # an old Holdfast, or one on the same directory elsewhere
            busy = refusal(home, "snapshots", {"label": "second"})
            assert busy["code"] == "HF6005"
            assert f"process {os.getpid()} is at it" in busy["message"]
            assert held.epoch > 1
        second = take(home, "one", "second")["result"]["snapshot"]
        assert [row["id"] for row in snapshots(home, "one")] == [first["id"], second["id"]]
    finally:
        home.close()


def test_odd_names_and_files_of_others_are_kept_or_said(tmp_path: Path) -> None:
    home = home_with()
    try:
        spec, live = still(home)
        up(home, spec)
        odd = os.fsencode(live) + b"/caf\xe9 \xff\n.txt"
        with open(odd, "wb") as file:
            file.write(b"bytes")
        os.mkfifo(live / "pipe")
        if os.geteuid() == 0:
            (live / "foreign").write_text("of another")
            os.chown(live / "foreign", 29_871, 29_871)
        else:
            (live / "locked").write_text("not readable")
            (live / "locked").chmod(0)
        taken = take(home, "one", "odd")["result"]["snapshot"]
        assert any("pipe" in one for one in taken["left_out"])
        to = tmp_path / "look"
        body = {"snapshot": taken["id"], "to": str(to)}
        assert "result" in list(home.client.messages("POST", "/v1/agents/one/restore", body))[-1]
        restored = os.fsencode(to / live.name)
        with open(restored + b"/caf\xe9 \xff\n.txt", "rb") as file:
            assert file.read() == b"bytes"
        if os.geteuid() == 0:
            assert Path(os.fsdecode(restored), "foreign").read_text() == "of another"
        else:
            assert any("locked" in one for one in taken["left_out"])
    finally:
        home.close()


def flip(pack: Path) -> None:
    """One bit, and nothing else at any moment."""
    pack.chmod(0o600)
    with open(pack, "r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, 100)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), 100)


def test_a_flipped_bit_is_found_by_the_hourly_check_and_another_snapshot_offered(tmp_path: Path) -> None:
    home = home_with(QUICK_CHORES)
    try:
        spec, live = still(home)
        up(home, spec)
        packs = home.home.path / "state" / "one" / "repo" / "packs"
        (live / "note").write_bytes(os.urandom(20_000))
        first = take(home, "one", "first")["result"]["snapshot"]
        former = set(packs.glob("*/*"))
        for name in ("note", "steady"):
            (live / name).write_bytes(os.urandom(20_000))
        second = take(home, "one", "second")["result"]["snapshot"]
        (pack,) = set(packs.glob("*/*")) - former
        flip(pack)

        def warned() -> list[str]:
            return [found["message"] for found in home.status()["warnings"] if found["code"] == "HF2058"]

        (told,) = wait_until(warned, "a warning about the damage")
        assert f"snapshot {second['id'][:12]} cannot be restored whole" in told
        assert f"1 of 2 snapshots are not affected, the newest of them {first['id'][:12]}" in told
        wait_until(lambda: said(home, "resource.alarm", "one"), "an alert")
        body = {"snapshot": second["id"], "to": str(tmp_path / "look")}
        refused = refusal(home, "restore", body)
        assert refused["code"] == "HF2058"
        assert f"snapshot {second['id'][:12]} cannot be restored" in refused["message"]
        assert f"the newest of them {first['id'][:12]}" in refused["message"]
        assert not (tmp_path / "look").exists()
        body["snapshot"] = first["id"]
        assert "result" in list(home.client.messages("POST", "/v1/agents/one/restore", body))[-1]
        take(home, "one")  # nothing changed, and yet what was lost is stored again
        wait_until(lambda: not warned(), "that the same snapshot is whole")
        body = {"snapshot": second["id"], "to": str(tmp_path / "second")}
        assert "result" in list(home.client.messages("POST", "/v1/agents/one/restore", body))[-1]
        assert (tmp_path / "second" / live.name / "steady").read_bytes() == (live / "steady").read_bytes()
    finally:
        home.close()


# Counts in two files, one after the other: at any one moment they differ by one at most.
PAIR = """
import os, sys
where, n = sys.argv[1], 0
one, other = (os.open(where + "/" + name, os.O_RDWR | os.O_CREAT) for name in ("one", "other"))
while True:
    n += 1
    os.pwrite(one, b"%012d" % n, 0)
    os.pwrite(other, b"%012d" % n, 0)
"""


PATIENT = """
from holdfast import limits
limits.FREEZE_MAX_S = limits.FREEZE_HOLD_S = limits.FREEZE_REACH_S = limits.FREEZE_WATCHER_WAIT_S = 60.0
"""


def test_a_frozen_agent_is_kept_as_it_was_at_one_moment_and_goes_on() -> None:
    home = home_with(in_worker=PATIENT)  # how long it may stand still is another test's matter
    try:
        spec, live = still(home, capture="freeze")
        spec["command"][2:] = [PAIR, str(live)]
        home.up(spec)
        wait_until(lambda: (live / "other").exists() and (live / "other").stat().st_size, "its files")
        frozen = 0
        for number in range(20):
            row = take(home, "one", f"number {number}")["result"]["snapshot"]
            one, other = (
                int(b"".join(home.client.pieces("/v1/agents/one/state/cat", {"snapshot": row["id"], "path": name})))
                for name in ("one", "other")
            )
            if row["consistency"] == "freeze":
                frozen += 1
                assert 0 <= one - other <= 1
            if frozen == 3:
                break
        assert frozen == 3
        before = (live / "one").read_bytes()
        wait_until(lambda: (live / "one").read_bytes() != before, "that it goes on")
        assert home.row("one")["instance"] == 1
    finally:
        home.close()


def test_twelve_agents_are_kept_before_all_is_taken_down() -> None:
    home = home_with(NO_PAUSES + "\nlimits.SNAPSHOT_BEFORE_STOP_S = limits.SNAPSHOT_BEFORE_DOWN_S = 90.0")
    try:
        specs = [counter(home, f"a{number}", pause_s=0.2, every_s=3600.0) for number in range(12)]
        up(home, *specs)
        home.client.post("/v1/down", {}, timeout_s=180)
        wait_until(home.is_free, "the end of Holdfast", 180.0)
        for spec in specs:
            repo = home.home.path / "state" / spec["name"] / "repo" / "snaps"
            assert len(list(repo.iterdir())) == 1, spec["name"]
    finally:
        home.close()


def test_a_damaged_pack_comes_back_from_the_second_place(tmp_path: Path) -> None:
    home = home_with(QUICK_CHORES)
    try:
        (tmp_path / "second").mkdir()
        spec, _ = still(home, store=str(tmp_path / "second"), store_every_s=0.1)
        up(home, spec)
        take(home, "one")
        wait_until(lambda: snapshots(home, "one")[-1]["remote"], "a copy")
        (pack,) = (home.home.path / "state" / "one" / "repo" / "packs").glob("*/*")
        good = pack.read_bytes()
        flip(pack)
        wait_until(lambda: pack.read_bytes() == good, "that it is mended")  # by the check, or by whoever read it before

        def told() -> str:
            return " ".join(
                one["text"] for kind in ("state.checked", "state.mended") for one in said(home, kind, "one")
            )

        wait_until(lambda: "from the second place" in told(), "that it is said")
        assert not said(home, "resource.alarm", "one")
    finally:
        home.close()
