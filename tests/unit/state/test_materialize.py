"""Fresh trees of a snapshot: as the original, beside it or elsewhere, with the agent's rights, never by halves."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import errors
from holdfast.errors import HoldfastError
from holdfast.state.model import Rights
from holdfast.state.restore import asides, exchange, intent, materialize, scribe
from holdfast.state.store.damage import Damaged
from holdfast.state.store.objects import StoreError
from tests.harness.restore_place import Place, facts, lay

AGENT = Rights(uid=29_871, gid=29_871)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as another user")


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory that another user can reach, which pytest's own is not."""
    top = Path(tempfile.mkdtemp(prefix="hf-"))
    top.chmod(0o755)
    yield top
    for closed in top.rglob("closed"):
        closed.chmod(0o700)
    shutil.rmtree(top)


@pytest.mark.parametrize("rights", [None, pytest.param(AGENT, marks=as_root)])
def test_what_comes_back_is_what_was_there(ground: Path, rights: Rights | None) -> None:
    place = Place(ground, rights)
    lay(place.live)
    place.own()
    before = facts(place.live)
    taken = place.take()
    assert taken[1].left_out == ()
    (place.live / "many" / "3.txt").write_text("other")
    (place.live / "new").write_text("made later")
    place.own()
    built = place.build(taken)
    assert built.notes == []
    assert (place.live / "new").exists(), "live files are untouched until the exchange"
    exchange.begin(place.state)
    assert facts(place.live) == before
    assert (place.live / "sparse.img").stat().st_blocks * 512 < 1_000_000
    assert exchange.settle(place.state)
    assert place.left() == []


def test_a_database_comes_back_whole_and_without_the_files_of_the_former_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    path = place.live / "memory.db"
    with sqlite3.connect(path) as base:
        base.execute("pragma journal_mode=wal")
        base.execute("create table t (x)")
        base.executemany("insert into t values (?)", [(number,) for number in range(5_000)])
    taken = place.take()
    base.execute("delete from t")
    base.commit()
    assert (place.live / "memory.db-wal").exists()
    place.restore(taken)
    base.close()
    assert sorted(os.listdir(place.live)) == ["memory.db"]
    with sqlite3.connect(path) as again:
        assert again.execute("select count(*) from t").fetchone() == (5_000,)
        assert again.execute("pragma integrity_check").fetchone() == ("ok",)


def test_one_database_is_restored_alone_and_its_log_goes_with_the_old_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    path = place.live / "memory.db"
    with sqlite3.connect(path) as base:
        base.execute("pragma journal_mode=wal")
        base.execute("create table t (x)")
    taken = place.take()
    base.execute("insert into t values (1)")
    base.commit()
    (place.live / "memory.db-journal").write_bytes(b"")
    (place.live / "other").write_text("made later")
    place.build(taken, path)
    exchange.begin(place.state)
    kept = place.live / asides.before("memory.db", taken[0].short)
    assert sorted(os.listdir(place.live)) == sorted(
        ["memory.db", "other", kept.name, f"{kept.name}-wal", f"{kept.name}-shm", f"{kept.name}-journal"]
    )
    base.close()
    exchange.back(place.state)
    assert {"memory.db", "memory.db-wal", "other"} <= set(os.listdir(place.live))
    assert place.left() == []


def test_one_path_comes_back_with_the_directories_on_its_way_and_nothing_else_changes(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lay(place.live)
    taken = place.take()
    wanted = place.live / "notes" / "small.md"
    (place.live / "second-name").unlink()
    wanted.unlink()
    (place.live / "notes" / "empty").unlink()
    (place.live / "notes").rmdir()
    before = facts(place.live)
    place.restore(taken, wanted)
    after = facts(place.live)
    assert wanted.read_text() == "small"
    assert set(after) - set(before) == {"notes", "notes/small.md"}
    assert {path: after[path] for path in before if path != "."} == {
        path: before[path] for path in before if path != "."
    }


def test_a_path_the_snapshot_lacks_is_said(tmp_path: Path) -> None:
    place = Place(tmp_path)
    taken = place.take()
    for path in (place.live / "none", place.home / "elsewhere"):
        with pytest.raises(HoldfastError) as caught:
            place.build(taken, path)
        assert caught.value.kind is errors.RESTORE_NOT_THERE
    assert intent.load(place.state) is None


def test_paths_that_were_missing_before_or_now_are_restored_as_they_were(tmp_path: Path) -> None:
    place = Place(tmp_path)
    gone, later = place.home / "gone", place.home / "later"
    gone.mkdir()
    (gone / "file").write_text("x")
    taken = place.take(place.live, gone, later)
    (gone / "file").unlink()
    gone.rmdir()
    later.write_text("made later")
    place.restore(taken)
    assert (gone / "file").read_text() == "x"
    assert not later.exists()
    assert place.left() == []


def test_a_directory_to_look_into_must_be_new_or_empty(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lay(place.live)
    other = place.home / "more" / "data"
    other.mkdir(parents=True)
    (other / "x").write_text("x")
    taken = place.take(place.live, other)
    target = tmp_path / "look"
    built = materialize.build_to(place.repository, *taken, target)
    assert built.where == {str(place.live): str(target / "data"), str(other): str(target / "data.2")}
    assert facts(target / "data") == facts(place.live)
    with pytest.raises(HoldfastError) as caught:
        materialize.build_to(place.repository, *taken, target)
    assert caught.value.kind is errors.RESTORE_TARGET
    with pytest.raises(HoldfastError) as caught:
        materialize.build_to(place.repository, *taken, tmp_path / "none" / "there")
    assert caught.value.kind is errors.RESTORE_TARGET


def test_a_closed_directory_comes_out_closed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.live / "x").write_text("x")
    place.live.chmod(0o500)
    try:
        materialize.build_to(place.repository, *place.take(), tmp_path / "look")
    finally:
        place.live.chmod(0o700)
    found = tmp_path / "look" / "data"
    assert (stat.S_IMODE(found.stat().st_mode), [one.name for one in found.iterdir()]) == (0o500, ["x"])
    found.chmod(0o700)


@as_root
def test_root_looks_where_the_agent_cannot_reach_and_the_files_stay_the_agents(ground: Path) -> None:
    place = Place(ground, AGENT)
    (place.live / "mine").write_text("x")
    (place.live / "link").symlink_to("mine")
    place.own()
    (place.live / "mine").chmod(0o4750)
    (place.live / "roots").write_text("x")
    (place.live / "roots").chmod(0o4755)
    taken = place.take()
    (ground / "closed").mkdir(mode=0o700)
    target = ground / "closed" / "look"
    materialize.build_to(place.repository, *taken, target, owner=AGENT)
    mine, roots = (target / "data" / "mine").stat(), (target / "data" / "roots").stat()
    assert (target.stat().st_uid, stat.S_IMODE(target.stat().st_mode)) == (0, 0o700)
    assert (mine.st_uid, mine.st_gid, stat.S_IMODE(mine.st_mode)) == (AGENT.uid, AGENT.gid, 0o4750)
    assert (roots.st_uid, stat.S_IMODE(roots.st_mode)) == (AGENT.uid, 0o755)
    assert {one.lstat().st_uid for one in (target / "data", target / "data" / "link")} == {AGENT.uid}
    assert [one.name for one in target.iterdir()] == ["data"]


@as_root
def test_a_link_of_the_agent_leads_no_look_elsewhere(ground: Path) -> None:
    place = Place(ground, AGENT)
    (place.live / "x").write_text("x")
    place.own()
    taken = place.take()
    aim, link = ground / "closed", ground / "link"
    aim.mkdir(mode=0o700)
    link.symlink_to(aim)
    os.chown(link, AGENT.uid, AGENT.gid, follow_symlinks=False)
    for target in (link, link / "look"):
        with pytest.raises(HoldfastError) as caught:
            materialize.build_to(place.repository, *taken, target, owner=AGENT)
        assert caught.value.kind is errors.RESTORE_TARGET
    assert list(aim.iterdir()) == []


def _last_pack(place: Place) -> Path:
    return max((place.state / "repo" / "packs").rglob("*/*"), key=lambda path: path.stat().st_size)


def test_a_flipped_bit_is_found_and_nothing_is_left(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lay(place.live)
    taken = place.take()
    before = facts(place.live)
    pack = _last_pack(place)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    with pytest.raises((Damaged, StoreError)):
        place.build(taken)
    assert (facts(place.live), place.left(), intent.load(place.state)) == (before, [], None)
    with pytest.raises((Damaged, StoreError)):
        materialize.build_to(place.repository, *taken, tmp_path / "look")
    assert not (tmp_path / "look").exists()


@pytest.mark.parametrize("act", ["_append", "_enter", "_dress", "sync"])
def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    place = Place(tmp_path)
    lay(place.live)
    taken = place.take()
    before = facts(place.live)
    real: Callable[..., object] = getattr(scribe.Scribe, act)
    count = 0

    def full(*args: object) -> object:
        nonlocal count
        count += 1
        if act == "sync" or count > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args)

    monkeypatch.setattr(scribe.Scribe, act, full)
    with pytest.raises(HoldfastError) as caught:
        place.build(taken)
    assert caught.value.kind is errors.RESTORE_NO_SPACE
    assert (facts(place.live), place.left(), intent.load(place.state)) == (before, [], None)


def test_too_little_room_is_seen_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    lay(place.live)
    taken = place.take()
    real = os.fstatvfs

    def little(fd: int) -> object:
        values = list(real(fd))
        values[3] = values[4] = 3_000_000 // values[1]
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "fstatvfs", little)
    monkeypatch.setattr(scribe.Scribe, "write", lambda *_: pytest.fail("written"))
    with pytest.raises(HoldfastError) as caught:
        place.build(taken)
    assert caught.value.kind is errors.RESTORE_NO_SPACE
    assert place.left() == []


def test_a_second_restore_waits_for_the_first_and_takes_away_what_a_killed_one_left(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lay(place.live)
    taken = place.take()
    current = place.build(taken)
    current.phase = intent.Phase.BUILDING
    intent.save(place.state, current)  # as if killed while it was built
    place.build(taken)
    exchange.begin(place.state)
    with pytest.raises(HoldfastError) as caught:
        place.build(taken)
    assert caught.value.kind is errors.RESTORE_UNDER_WAY
    exchange.back(place.state, keep_failed=True)
    assert [Path(path).name for path in place.left()] == [asides.failed("data", taken[0].short)]


def test_giving_up_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    lay(place.live)
    taken = place.take()

    def enough(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialize.build(place.state, place.repository, *taken, rights=None, now=1.0, progress=enough)
    assert (place.left(), intent.load(place.state)) == ([], None)


@as_root
def test_foreign_files_become_the_agents_and_lose_their_set_id_bits(ground: Path) -> None:
    place = Place(ground, AGENT)
    (place.live / "mine").write_text("x")
    place.own()
    (place.live / "mine").chmod(0o4755)
    (place.live / "theirs").write_text("x")
    (place.live / "theirs").chmod(0o6755)
    taken = place.take()
    built = place.build(taken)
    exchange.begin(place.state)
    mine, theirs = (place.live / "mine").stat(), (place.live / "theirs").stat()
    assert (stat.S_IMODE(mine.st_mode), mine.st_uid) == (0o4755, AGENT.uid)
    assert (stat.S_IMODE(theirs.st_mode), theirs.st_uid) == (0o755, AGENT.uid)
    assert "1 entry of another user" in built.notes[0]


@as_root
def test_a_directory_in_a_parent_that_is_not_the_agents_is_restored_from_inside(ground: Path) -> None:
    place = Place(ground, AGENT)
    lay(place.live)
    place.own()
    os.chown(place.home, 0, 0)
    place.home.chmod(0o755)
    before = facts(place.live)
    taken = place.take()
    (place.live / "new").write_text("made later")
    (place.live / "notes" / "small.md").unlink()
    place.build(taken)
    exchange.begin(place.state)
    assert {path: fact for path, fact in facts(place.live).items() if "holdfast-before" not in path} == before
    assert exchange.settle(place.state)
    assert place.left() == []
    found = facts(place.live)
    assert {path: found[path] for path in found if path != "."} == {
        path: before[path] for path in before if path != "."
    }


def _to_be_written(ground: Path) -> tuple[Place, Path]:
    """An agent with many directories, and what is root's."""
    place = Place(ground, AGENT)
    for number in range(40):
        directory = place.live / f"d{number}"
        directory.mkdir()
        for name in range(15):
            (directory / f"f{name}").write_text("x" * 200)
    place.own()
    treasure = ground / "treasure"
    treasure.mkdir()
    treasure.chmod(0o755)
    (treasure / "kept").write_text("root's")
    return place, treasure


def _fought(ground: Path, least: int = 15, most: int = 60) -> tuple[Path, int]:
    """What is root's, and how often an agent put a link to it into its tree while that was written.

    `least` and `most`: how often it is written, unless what is root's was reached before.
    """
    place, treasure = _to_be_written(ground)
    taken = place.take()
    fresh = place.home / asides.fresh("data", taken[0].short)
    over = threading.Event()
    swapped = 0

    def hostile() -> None:
        nonlocal swapped
        number = 0
        while not over.is_set():
            number += 1
            for target in (fresh / f"d{number % 40}", fresh):
                try:
                    os.rename(target, place.home / f"away-{number}-{target.name}")
                    target.symlink_to(treasure)
                    swapped += 1
                except OSError:
                    continue

    thread = threading.Thread(target=hostile)
    switched_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that it comes between any two calls
    thread.start()
    tries = 0
    try:
        while (swapped < 20 or tries < least) and tries < most and _is_roots(treasure):
            tries += 1
            with contextlib.suppress(HoldfastError):
                place.build(taken)
                exchange.clear(place.state)
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(switched_s)
    return treasure, swapped


def _is_roots(treasure: Path) -> bool:
    """Still as root left it."""
    status = treasure.stat()
    found = {path.name: path.read_text() if path.is_file() else "" for path in treasure.iterdir()}
    return found == {"kept": "root's"} and (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o755)


@as_root
def test_an_agent_that_puts_links_in_the_way_leads_nowhere(ground: Path) -> None:
    """While its tree is written, a thread of the agent's swaps directories of it for links to what is root's."""
    treasure, swapped = _fought(ground)
    assert swapped
    assert _is_roots(treasure)


@as_root
def test_the_same_look_finds_a_restore_that_follows_links_with_roots_rights(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materialize, "acting_as", lambda rights: contextlib.nullcontext())
    monkeypatch.setattr(scribe, "_DIRECTORY", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    place, treasure = _to_be_written(ground)
    taken = place.take()
    make = os.mkdir

    def make_and_lose(name: str | bytes, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """The agent comes at the worst moment: between the making of a directory and the work in it."""
        make(name, mode, dir_fd=dir_fd)
        if os.fsdecode(name) == "d7":
            os.rename(name, "away", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            os.symlink(treasure, name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", make_and_lose)
    with contextlib.suppress(HoldfastError):
        place.build(taken)
    assert not _is_roots(treasure)


@as_root
def test_a_file_in_a_directory_where_its_agent_may_make_nothing_is_refused_with_what_to_do(ground: Path) -> None:
    place = Place(ground, AGENT)
    (place.live / "state.json").write_text("{}")
    place.own()
    os.chown(place.live, 0, 0)
    place.live.chmod(0o755)
    taken = place.take(place.live / "state.json")
    with pytest.raises(HoldfastError) as caught:
        place.build(taken)
    assert caught.value.kind is errors.RESTORE_FAILED
    assert "may make nothing in" in caught.value.summary
    assert "--to" in caught.value.summary
    assert place.left() == []
    assert intent.load(place.state) is None


def test_symbolic_links_that_share_an_inode_share_one_again(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.live / "one").symlink_to("somewhere")
    os.link(place.live / "one", place.live / "two", follow_symlinks=False)
    before = facts(place.live)
    taken = place.take()
    (place.live / "two").unlink()
    place.restore(taken)
    assert facts(place.live) == before
    assert (place.live / "one").lstat().st_ino == (place.live / "two").lstat().st_ino
