"""Snapshots of directories that change, lie and fight while they are read."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

from holdfast.state import opening
from holdfast.state.capture import intake, passage, walk
from holdfast.state.capture.capture import CannotCapture
from holdfast.state.capture.freeze import CannotFreeze
from holdfast.state.identity import acting_as
from holdfast.state.model import Consistency, Rights
from tests.harness.captures import Home

AGENT = Rights(uid=65534, gid=65534)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
ROUNDS = int(os.environ.get("HOLDFAST_SWAPS", "15"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    return work


def opened_to_all(path: Path) -> None:
    """An ordinary user can reach it, for as long as the test's own directories last."""
    for parent in (path, *path.parents):
        if parent == Path("/"):
            return
        mode = parent.stat().st_mode & 0o777
        if not mode & 0o001:
            parent.chmod(mode | 0o011)


def everything_stored(home: Home) -> bytes:
    """All contents in the repository."""
    stored = b""
    for facts in home.repository.packs():
        for blob, _kind, _length, _stored in home.repository.contents(facts.name):
            stored += home.repository.read(blob)
    return stored


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """`work` again and again in another thread, as the agent."""
    over = threading.Event()

    def run() -> None:
        with acting_as(AGENT):
            while not over.is_set():
                with suppress(OSError):
                    work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(90)


@as_root
def test_a_directory_swapped_for_a_symlink_out_of_the_tree_leads_nowhere(
    home: Home, work: Path, tmp_path: Path
) -> None:
    secrets = tmp_path / "outside"
    (secrets / "d").mkdir(parents=True)
    for name in ("readable", "closed"):
        (secrets / "d" / name).write_bytes(b"THE-SECRET-" * 50)
    (secrets / "d/closed").chmod(0o600)
    for index in range(40):
        (work / f"{index:02}" / "d").mkdir(parents=True)
        (work / f"{index:02}" / "d/readable").write_bytes(b"own")
    for path in (work, *work.rglob("*")):
        os.chown(path, AGENT.uid, AGENT.gid)
    opened_to_all(work)

    def swap() -> None:
        for index in range(40):
            real, aside = work / f"{index:02}", work / f"aside-{index}"
            real.rename(aside)
            real.symlink_to(secrets)
            real.unlink()
            aside.rename(real)
            file = real / "d/readable"
            file.unlink()
            file.symlink_to(secrets / "d/closed")
            file.unlink()
            file.write_bytes(b"own")

    with meanwhile(swap):
        for _ in range(ROUNDS):
            home.take(work, rights=AGENT, always=True)
    assert b"THE-SECRET" not in everything_stored(home)


@as_root
def test_what_the_agent_may_not_read_is_left_out_with_the_reason(home: Home, work: Path) -> None:
    (work / "own").write_bytes(b"own")
    (work / "roots").write_bytes(b"THE-SECRET")
    (work / "roots").chmod(0o600)
    (work / "closed").mkdir(mode=0o700)
    (work / "closed/f").write_bytes(b"THE-SECRET")
    os.link(work / "roots", work / "linked")
    os.chown(work / "own", AGENT.uid, AGENT.gid)
    opened_to_all(work)
    manifest = home.snapshot(work, rights=AGENT)
    assert home.names(manifest) == {"own"}
    assert sorted(manifest.left_out) == [
        f"{work}/{name}: it cannot be read: Permission denied" for name in ("closed", "linked", "roots")
    ]
    os.mkfifo(work / "pipe")  # nothing to lose
    again = home.take(work, rights=AGENT)
    assert again.snapshot is None
    assert again.unkept == manifest.left_out
    assert b"THE-SECRET" not in everything_stored(home)


@as_root
def test_a_state_path_that_the_agent_cannot_reach_is_refused_rather_than_kept_empty(home: Home, work: Path) -> None:
    (work / "state").mkdir(mode=0o700)
    opened_to_all(work)
    with pytest.raises(CannotCapture, match="cannot be read: Permission denied"):
        home.take(work / "state", rights=AGENT)
    work.chmod(0o700)
    with pytest.raises(CannotCapture, match="cannot be re"):
        home.take(work / "state/inner", rights=AGENT)


@as_root
def test_a_symlink_on_the_way_that_a_third_user_made_is_not_followed(home: Home, work: Path) -> None:
    (work / "real/state").mkdir(parents=True)
    (work / "way").symlink_to("real")
    os.lchown(work / "way", 4242, 4242)
    opened_to_all(work)
    with pytest.raises(CannotCapture, match="a symlink of another user lies on the way"):
        home.take(work / "way/state", rights=AGENT)


@as_root
def test_files_are_kept_with_the_owners_they_have(home: Home, work: Path) -> None:
    (work / "f").write_bytes(b"f")
    os.chown(work / "f", 4242, 4343)
    opened_to_all(work)
    entry = home.entry(home.snapshot(work, rights=AGENT), "f")
    assert (entry.uid, entry.gid) == (4242, 4343)


# --- changes at the worst moment -----------------------------------------------------------------------------------
def after_scan(patch: pytest.MonkeyPatch, act: Callable[[], None], when: str) -> None:
    """`act` once, right after the directory that holds `when` was looked at."""
    real = walk.scan
    done: list[bool] = []

    def scan(fd: int) -> walk.Listing:
        listing = real(fd)
        if not done and when.encode() in walk.entries(listing.signature):
            done.append(True)
            act()
        return listing

    patch.setattr(walk, "scan", scan)


def test_what_vanishes_after_it_was_listed_is_not_in_the_snapshot(
    home: Home, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "d").mkdir()
    (work / "f").write_bytes(b"f")
    (work / "g").write_bytes(b"g")

    def vanish() -> None:
        (work / "f").unlink()
        (work / "d").rmdir()

    after_scan(monkeypatch, vanish, "f")
    manifest = home.snapshot(work)
    assert home.names(manifest) == {"g"}
    assert manifest.left_out == ()


@pytest.mark.parametrize("name", ["file", "directory"])
def test_what_becomes_something_else_after_it_was_listed_is_kept_as_what_it_is_now(
    home: Home, work: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (work / "file").write_bytes(b"f")
    (work / "directory").mkdir()

    def swap() -> None:
        (work / name).rename(work.parent / "gone")
        (work / name).symlink_to("/etc")

    after_scan(monkeypatch, swap, "file")
    first = home.snapshot(work)
    if name == "file":
        assert home.entry(first, "file").target == b"/etc"
    else:
        assert first.left_out == (f"{work}/directory: something else was put in its place while it was read",)
    assert home.entry(home.snapshot(work, always=True), name).target == b"/etc"


def test_a_change_between_looking_and_reading_is_read_again_the_next_time(
    home: Home, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "f").write_bytes(b"one")
    after_scan(monkeypatch, lambda: (work / "f").write_bytes(b"two") and None, "f")
    assert home.content(home.snapshot(work), "f") == b"two"
    (work / "f").write_bytes(b"six")
    assert home.content(home.snapshot(work), "f") == b"six"


@pytest.mark.parametrize("size", [100, 400_000])
def test_a_file_that_changes_under_every_reading_is_flagged_and_read_again_the_next_time(
    home: Home, work: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    (work / "f").write_bytes(b"x" * size)
    (work / "calm").write_bytes(b"calm")
    real = os.pread

    def pread(fd: int, length: int, offset: int) -> bytes:
        data = real(fd, length, offset)
        if length != 16 and offset == 0 and data.startswith(b"x"):
            with (work / "f").open("ab") as file:
                file.write(b"y")
        return data

    monkeypatch.setattr(intake.os, "pread", pread)
    manifest = home.snapshot(work)
    assert manifest.consistency is Consistency.FUZZY
    assert manifest.fuzzy == (f"{work}/f",)
    assert home.entry(manifest, "f").fuzzy
    monkeypatch.setattr(intake.os, "pread", real)
    manifest = home.snapshot(work)
    assert manifest.consistency is Consistency.GUARD
    assert home.content(manifest, "f") == b"x" * size + b"y" * 3


def test_a_file_that_changes_once_while_it_is_read_is_read_again(
    home: Home, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "f").write_bytes(b"x" * 400_000)
    real, done = os.pread, list[bool]()

    def pread(fd: int, length: int, offset: int) -> bytes:
        data = real(fd, length, offset)
        if length != 16 and not done:
            done.append(True)
            (work / "f").write_bytes(b"short")
        return data

    monkeypatch.setattr(intake.os, "pread", pread)
    manifest = home.snapshot(work)
    assert manifest.consistency is Consistency.GUARD
    assert home.content(manifest, "f") == b"short"


def test_a_disk_that_cannot_be_read_leaves_the_file_out_with_the_reason(
    home: Home, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "bad").write_bytes(b"bad")
    (work / "good").write_bytes(b"good")
    real = opening.open_file

    def open_file(parent: int, name: bytes) -> tuple[int, os.stat_result]:
        if name == b"bad":
            raise OSError(5, "Input/output error")
        return real(parent, name)

    monkeypatch.setattr(intake, "open_file", open_file)
    manifest = home.snapshot(work)
    assert home.names(manifest) == {"good"}
    assert manifest.left_out == (f"{work}/bad: it cannot be read: Input/output error",)
    assert passage.CannotCapture is CannotCapture


# --- standing still ------------------------------------------------------------------------------------------------
class Still:
    """A freezer that writes at the last moment before it holds, and may fail to hold."""

    deadline_mono = float("inf")
    pause_s = 0.0

    def __init__(self, last_act: Callable[[], None], *, holds: bool = True, refuses: bool = False) -> None:
        self._last_act, self._holds, self._refuses = last_act, holds, refuses

    def frozen(self) -> AbstractContextManager[Still]:
        return self._frozen()

    @contextmanager
    def _frozen(self) -> Iterator[Still]:
        if self._refuses:
            raise CannotFreeze("it does not stand still")
        self._last_act()
        yield self

    def lasted(self) -> bool:
        return self._holds


def test_a_frozen_snapshot_is_of_the_moment_of_standing_still(home: Home, work: Path) -> None:
    (work / "sub").mkdir()
    (work / "sub/calm").write_bytes(b"calm" * 30_000)
    (work / "f").write_bytes(b"before")
    taken = home.take(work, capture="freeze", freezer=Still(lambda: (work / "f").write_bytes(b"at last") and None))
    assert taken.manifest is not None
    assert taken.manifest.consistency is Consistency.FREEZE
    assert taken.note == ""
    assert home.content(taken.manifest, "f") == b"at last"
    assert home.content(taken.manifest, "sub/calm") == b"calm" * 30_000
    assert not (home.cache / "first").exists()
    assert home.take(work, capture="freeze", freezer=Still(lambda: None)).snapshot is None


@pytest.mark.parametrize("why", ["refuses", "too short", "nobody"])
def test_where_it_cannot_stand_still_the_snapshot_is_made_all_the_same_and_says_so(
    home: Home, work: Path, why: str
) -> None:
    (work / "f").write_bytes(b"f")
    freezer = None if why == "nobody" else Still(lambda: None, holds=False, refuses=why == "refuses")
    taken = home.take(work, capture="freeze", freezer=freezer)
    assert taken.manifest is not None
    assert taken.manifest.consistency is Consistency.GUARD
    assert taken.note
    assert home.names(taken.manifest) == {"f"}
    (work / "f").write_bytes(b"g")
    assert home.content(home.snapshot(work), "f") == b"g"
