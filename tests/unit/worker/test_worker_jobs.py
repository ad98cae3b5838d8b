"""Every job on one small state, through a real worker: what each answers, and what it leaves."""

from __future__ import annotations

import asyncio
import io
import random
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from holdfast import errors
from holdfast.keeper.state.worker_link import WorkerLink
from holdfast.keeper.tasks import Tasks
from holdfast.state.keeping import aging
from holdfast.worker.protocol import Fault, JobFailed

Ask = Callable[..., Coroutine[Any, Any, dict[str, Any]]]


def with_state(tmp_path: Path, work: Callable[[Ask, Path], Coroutine[Any, Any, None]]) -> None:
    live = tmp_path / "live"
    live.mkdir()
    (live / "note").write_text("first\n")
    (tmp_path / "second").mkdir()
    args = {
        "agent": "one",
        "state_dir": str(tmp_path / "state"),
        "directory": str(tmp_path / "state" / "one"),
        "rights": None,
        "paths": [str(live)],
        "exclude": [],
        "store": str(tmp_path / "second"),
        "store_every_s": 60.0,
        "encrypt": True,
        "capture": "guard",
        "budget_bytes": None,
        "recipe": "process",
        "user": "",
        "spec": "{}",
        "cause": "timer",
    }

    async def run() -> None:
        tasks = Tasks()
        link = WorkerLink(tasks)

        async def ask(job: str, **more: Any) -> dict[str, Any]:
            pieces = b""
            answer: dict[str, Any] = {}
            async for message in link.job(job, {**args, **more}):
                pieces += message.get("chunk", b"")
                answer = message.get("result", answer)
            return {**answer, "pieces": pieces}

        try:
            await asyncio.wait_for(work(ask, live), 120.0)
        finally:
            link.close()
            await tasks.finish(10.0)

    asyncio.run(run())


def test_two_versions_are_taken_listed_compared_shown_measured_checked_and_sent(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        a = (await ask("snapshot"))["snapshot"]["id"]
        assert (await ask("snapshot"))["unchanged_since"] == a
        (live / "note").write_text("second\n")
        (live / "other").write_text("x")
        b = (await ask("snapshot", label="mine", cause="manual"))["snapshot"]["id"]
        rows = (await ask("snapshots"))["snapshots"]
        assert [(row["id"], row["label"], row["remote"]) for row in rows] == [(a, "", False), (b, "mine", False)]
        assert len((await ask("log", path="note"))["versions"]) == 2
        assert (await ask("cat", path="note", snapshot=a))["pieces"] == b"first\n"
        found = await ask("diff", a=a, b=b, path=None)
        assert (found["added"], found["removed"]) == (1, 0)
        only = await ask("diff", a=a, b=b, path="note")
        assert [change["path"] for change in only["changes"]] == [str(live / "note")]
        assert (await ask("du"))["snapshots"] == 2
        for more in ({"how": "closure"}, {"how": "sample"}, {"how": "drill"}, {"all": True}):
            assert (await ask("verify", **more))["faults"] == []
        with tarfile.open(fileobj=io.BytesIO((await ask("export", snapshot=a))["pieces"])) as archive:
            assert any(name.endswith("live/note") for name in archive.getnames())
        sent = await ask("upload")
        assert (sent["error"], sent["lag"]["objects"]) == ("", 0)
        assert all(row["remote"] for row in (await ask("snapshots"))["snapshots"])
        assert len((await ask("key"))["key"]) == 64

    with_state(tmp_path, work)


def test_snapshots_are_pinned_deleted_brought_back_thinned_and_collected(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        made = []
        for number in range(4):
            (live / "note").write_text(str(number))
            made.append((await ask("snapshot"))["snapshot"]["id"])
        assert (await ask("pin", snapshot=made[0], why="mine"))["pins"] == ["mine"]
        assert (await ask("pin", snapshot=made[0], why="mine", pinned=False))["pins"] == []
        for number in range(3):
            assert (await ask("mark-good", snapshot=made[number]))["new"]
        assert not (await ask("mark-good", snapshot=made[2]))["new"]
        rows = (await ask("snapshots"))["snapshots"]
        assert [row["id"] for row in rows if "known-good" in row["pins"]] == made[1:3]
        assert (await ask("delete-snapshot", snapshot=made[3]))["until"] > 0
        assert [row["id"] for row in (await ask("snapshots"))["snapshots"]] == made[:3]
        await ask("undelete-snapshot", snapshot=made[3])
        await ask("delete-snapshot", snapshot=made[0])
        gone = await ask("remove")
        assert gone["snapshots"] == 3
        assert len((await ask("snapshots", gone=True))["snapshots"]) == 4
        assert (await ask("bring-back"))["snapshots"] == 4
        assert made[3] in [row["id"] for row in (await ask("snapshots"))["snapshots"]]
        assert (await ask("gc", dry_run=True))["refused"] == ""
        tidied = await ask("tidy")
        assert (tidied["taken"], tidied["refused"]) == ([], "")

    with_state(tmp_path, work)


def test_a_restore_is_built_exchanged_and_taken_back_or_settled(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        a = (await ask("snapshot"))["snapshot"]["id"]
        (live / "note").write_text("spoiled")
        await ask("restore-build", snapshot=a)
        assert (live / "note").read_text() == "spoiled"
        await ask("restore-exchange")
        assert (live / "note").read_text() == "first\n"
        await ask("restore-back")
        assert (live / "note").read_text() == "spoiled"
        await ask("restore-build", snapshot=a)
        await ask("restore-exchange")
        assert (await ask("restore-settle"))["over"]
        assert (live / "note").read_text() == "first\n"
        assert [path.name for path in live.parent.iterdir() if "holdfast" in path.name] == []
        assert (await ask("restore-recover"))["over"]
        looked = await ask("restore-build", snapshot=a, to=str(live.parent / "look"))
        assert Path(looked["where"][str(live)], "note").read_text() == "first\n"

    with_state(tmp_path, work)


def test_where_nothing_was_kept_jobs_say_so_and_make_nothing(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        assert (await ask("snapshots"))["snapshots"] == []
        with pytest.raises(JobFailed) as failed:
            await ask("du")
        assert failed.value.kind == errors.NO_SNAPSHOTS.code
        assert not (live.parent / "state" / "one" / "repo").exists()
        await ask("snapshot")
        with pytest.raises(JobFailed) as failed:
            await ask("cat", snapshot="0" * 32, path="note")
        assert failed.value.kind in (errors.SNAPSHOT_NOT_FOUND.code, Fault.NOT_FOUND)

    with_state(tmp_path, work)


def database(path: Path, rows: int = 2000) -> None:
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b TEXT)")
        base.executemany("INSERT INTO t (b) VALUES (?)", [("x" * 200,)] * rows)


def spoil(path: Path) -> None:
    """Pages in the middle that SQLite finds wrong."""
    data = bytearray(path.read_bytes())
    data[16384:24576] = b"\xa5" * 8192
    path.write_bytes(data)


def test_a_snapshot_is_proven_before_it_may_be_known_good(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        (live / "settings.json").write_text('{"a": 1}')
        (live / "tsconfig.json").write_text("// no JSON at all")
        database(live / "base.db")
        a = (await ask("snapshot"))["snapshot"]["id"]
        first = await ask("prove", snapshot=a)
        assert (first["faults"], first["looked"]) == ([], 3)
        assert first["unchecked"] == [f"{live}/tsconfig.json: it was no JSON before either"]
        await ask("mark-good", snapshot=a)
        (live / "note").write_text("only this changed")
        b = (await ask("snapshot"))["snapshot"]["id"]
        assert (await ask("prove", snapshot=b))["looked"] == 0
        (live / "settings.json").write_text('{"a": ')
        spoil(live / "base.db")
        c = (await ask("snapshot"))["snapshot"]["id"]
        found = await ask("prove", snapshot=c)
        assert sorted(one.split(": ")[0] for one in found["faults"]) == [f"{live}/base.db", f"{live}/settings.json"]
        assert not (tmp_path / "state" / "one" / "proof").exists()

    with_state(tmp_path, work)


def test_of_a_removed_agent_all_can_be_looked_at_and_restored(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        a = (await ask("snapshot"))["snapshot"]["id"]
        (live / "note").write_text("second\n")
        b = (await ask("snapshot"))["snapshot"]["id"]
        await ask("remove")
        gone = {"gone": True}
        assert [row["id"] for row in (await ask("snapshots", **gone))["snapshots"]] == [a, b]
        assert len((await ask("log", path="note", **gone))["versions"]) == 2
        assert (await ask("cat", path="note", snapshot=a, **gone))["pieces"] == b"first\n"
        assert (await ask("diff", a=a, b=b, path="note", **gone))["changed"] == 1
        assert (await ask("export", snapshot=b, **gone))["pieces"]
        checked = await ask("verify", all=True, **gone)
        assert (checked["snapshots"], checked["restorable"]) == (2, 2)
        await ask("restore-build", snapshot=a, to=str(tmp_path / "look"), **gone)
        assert (tmp_path / "look" / "live" / "note").read_text() == "first\n"
        with pytest.raises(JobFailed):
            await ask("cat", path="note", snapshot=a)  # what is deleted is not shown to who does not ask for it

    with_state(tmp_path, work)


def test_a_damaged_snapshot_is_named_and_another_one_offered(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        (live / "note").write_bytes(random.Random(1).randbytes(100_000))
        a = (await ask("snapshot"))["snapshot"]["id"]
        (pack,) = (tmp_path / "state" / "one" / "repo" / "packs").glob("*/*")
        (live / "note").write_bytes(random.Random(2).randbytes(100_000))
        b = (await ask("snapshot"))["snapshot"]["id"]
        flip(pack)
        with pytest.raises(JobFailed) as failed:
            await ask("restore-build", snapshot=a)
        assert failed.value.kind == Fault.DAMAGED
        assert f"snapshot {a[:12]} cannot be restored" in str(failed.value.detail)
        assert f"1 of 2 snapshots are not affected, the newest of them {b[:12]}" in str(failed.value.detail)
        assert (await ask("restore-build", snapshot=b))["short"] == b[:12]

    with_state(tmp_path, work)


def flip(pack: Path) -> None:
    """One byte of what a pack holds."""
    data = bytearray(pack.read_bytes())
    data[200] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)


def test_what_was_forgotten_in_the_second_place_is_condemned_there_and_the_rest_stays(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        await ask("snapshot")
        await ask("upload")
        there = tmp_path / "second" / "agents" / "one"
        kept = sorted(path.name for path in (there / "packs").glob("*/*"))
        (live / "note").write_text("of another time")
        shutil.copytree(tmp_path / "state" / "one", tmp_path / "state" / "copy")
        await ask("snapshot", directory=str(tmp_path / "state" / "copy"))
        (extra,) = {p.name for p in (tmp_path / "state" / "copy" / "repo" / "packs").glob("*/*")} - set(kept)
        source = next((tmp_path / "state" / "copy" / "repo" / "packs").glob(f"*/{extra}"))
        (there / "packs" / source.parent.name).mkdir(exist_ok=True)
        shutil.copy(source, there / "packs" / source.parent.name / extra)
        found = await ask("gc-second")
        assert (found["refused"], found["freed_bytes"]) == ("", 0)
        assert found["waiting_bytes"] == source.stat().st_size
        assert sorted(path.name for path in (there / "packs").glob("*/*")) == sorted([*kept, extra])

    with_state(tmp_path, work)


def test_what_left_the_trash_between_two_uploads_leaves_the_second_place_too(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        first = (await ask("snapshot"))["snapshot"]["id"]
        await ask("upload")
        (live / "note").write_text("second\n")
        await ask("snapshot")
        await ask("delete-snapshot", snapshot=first)
        home = tmp_path / "state" / "one"
        (trashed,) = (home / "repo" / "trash").iterdir()
        clocks = aging.read_clocks()
        over = trashed.rename(f"{str(trashed).rpartition('~')[0]}~{int(clocks.at + 40 * 86_400)}")  # a clock ran ahead
        aging.save(home / "times", aging.Times(last=clocks, due={f"trash/{over.name}": 0.0}))
        assert (await ask("tidy"))["expired"] == [first]
        assert (await ask("upload"))["error"] == ""
        left = [path.name for path in (tmp_path / "second" / "agents" / "one" / "snaps").iterdir()]
        assert len(left) == 1
        assert not left[0].endswith(first)

    with_state(tmp_path, work)


def test_a_removed_agent_goes_for_good_when_its_time_has_surely_passed_and_nothing_can_be_had_back(
    tmp_path: Path,
) -> None:
    home, month_s = tmp_path / "state" / "one", 31 * 86_400.0

    def pass_time(seconds: float) -> None:
        found = aging.load(home / "times")
        assert found is not None
        aging.save(home / "times", structs.replace(found, elapsed_s=found.elapsed_s + seconds))

    async def work(ask: Ask, live: Path) -> None:
        await ask("snapshot")
        (home / "deleted.json").write_text("{}")
        now = time.time()
        assert not (await ask("clear-removed", until_at=now - 1))["over"]  # a live snapshot: its removal did not end
        pass_time(month_s)
        assert not (await ask("clear-removed", until_at=now - 1))["over"]
        await ask("remove")
        assert not (await ask("clear-removed", until_at=now - 1))["over"]
        pass_time(29 * 86_400.0)
        assert not (await ask("clear-removed", until_at=now - 1))["over"]
        (trashed,) = (home / "repo" / "trash").iterdir()
        assert trashed.name.rpartition("~")[2].isdecimal()  # its shown deadline is a month ahead by this clock
        trashed.unlink()
        assert not (await ask("clear-removed", until_at=now + 60))["over"]  # by the clock it could be had back
        assert (await ask("clear-removed", until_at=now - 1))["over"]
        assert not home.exists()
        assert (live / "note").read_text() == "first\n"

    with_state(tmp_path, work)


def test_of_a_removed_agent_without_snapshots_a_clock_that_jumps_deletes_nothing(tmp_path: Path) -> None:
    async def work(ask: Ask, live: Path) -> None:
        home = tmp_path / "state" / "one"
        home.mkdir(parents=True)
        (home / "deleted.json").write_text("{}")
        assert not (await ask("clear-removed", until_at=time.time() + 30 * 86_400.0))["over"]
        assert not (await ask("clear-removed", until_at=time.time() - 1))["over"]
        found = aging.load(home / "times")
        assert found is not None
        aging.save(home / "times", structs.replace(found, elapsed_s=31 * 86_400.0))
        assert (await ask("clear-removed", until_at=time.time() - 1))["over"]
        assert not home.exists()

    with_state(tmp_path, work)
