"""A restore whose power is cut at any system call ends with all paths new or all old, and leaves nothing behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import files, limits
from holdfast.errors import HoldfastError
from holdfast.state.restore import asides, exchange, places, scribe
from holdfast.state.restore.exchange import Outcome
from tests.crash.restore_power import Tape
from tests.harness.restore_place import Place

CUTS = int(os.environ.get("HOLDFAST_RESTORE_CUTS", "150"))
SEED = 20261121


class Scene:
    """Three paths with an old version that is on the disk, and a snapshot of another one."""

    def __init__(self, top: Path, patch: pytest.MonkeyPatch) -> None:
        self.top = top
        place = self.place = Place(top)
        self.paths = [place.home / name for name in ("data", "more", "base.db")]
        self._lay("new")
        self.taken = place.take(*self.paths)
        self.new = self.picture()
        for path in self.paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._lay("old")
        (place.home / "base.db-wal").write_bytes(b"of old")
        self.old = self.picture()
        patch.setattr(places, "only_by_entry", lambda path, table: path.endswith("more"))

    def _lay(self, word: str) -> None:
        for path in self.paths[:2]:
            (path / "sub").mkdir(parents=True)
            (path / f"only-{word}").write_text(word)
            (path / "both").write_text(word * 3_000)
            (path / "sub" / "deep").write_text(word)
            (path / "link").symlink_to(word)
            os.link(path / "both", path / "sub" / "again")
        with open(self.paths[0] / "holes", "wb") as file:
            file.truncate(1_000_000)
            os.pwrite(file.fileno(), word.encode(), 300_000)
        with sqlite3.connect(self.paths[2]) as base:
            base.execute("create table t (word)")
            base.execute("insert into t values (?)", (word,))
        base.close()

    def picture(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in sorted(self.place.home.rglob("*")):
            relative = path.relative_to(self.place.home)
            if any(asides.is_aside(os.fsencode(part)) for part in relative.parts):
                continue
            found[str(relative)] = (
                os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            )
        return found

    def left(self) -> list[str]:
        return self.place.left()


def _recorded(scene: Scene, *, back: bool = False) -> Tape:
    tape = Tape(scene.top, without=("repo",))
    with tape.on():
        scene.place.build(scene.taken)
        tape.mark("built")
        exchange.begin(scene.place.state)
        tape.mark("new")
        if back:
            exchange.back(scene.place.state)
            tape.mark("old again")
        else:
            assert exchange.settle(scene.place.state)
            tape.mark("settled")
    scene.top.rename(scene.top.with_name("was"))
    return tape


def _check(scene: Scene, tape: Tape, first: int, cuts: int) -> None:
    chance = random.Random(SEED)
    trials = [(at, keep) for at in range(first, len(tape.ops) + 1) for keep in (0.0, 0.5, 1.0)]
    for at, keep in sorted(chance.sample(trials, min(cuts, len(trials)))):
        shutil.rmtree(scene.top, ignore_errors=True)
        marks = tape.after_power_cut(at, random.Random(f"{at} {keep}"), keep, scene.top)
        why = f"cut after {at} of {len(tape.ops)} (keep {keep}), which was {tape.ops[at - 1]}"
        try:
            found = exchange.recover(scene.place.state)
        except HoldfastError as error:
            raise AssertionError(f"{why}: {error.summary}") from error
        now = scene.picture()
        assert now in (scene.old, scene.new), why
        if "new" in marks and "old again" not in marks and not any(op.text == "old again" for op in tape.ops):
            assert now == scene.new, why
        if "old again" in marks:
            assert now == scene.old, why
        if found.outcome is not Outcome.NEW or found.over:
            assert scene.left() == [], why
        assert exchange.recover(scene.place.state).outcome in (found.outcome, Outcome.NOTHING)
        assert scene.picture() == now, why


def _campaign(tmp_path: Path, patch: pytest.MonkeyPatch, cuts: int, *, back: bool = False) -> None:
    (tmp_path / "top").mkdir()
    scene = Scene(tmp_path / "top", patch)
    first = len(Tape(scene.top, without=("repo",)).ops)
    tape = _recorded(scene, back=back)
    with pytest.MonkeyPatch.context() as quick:
        quick.setattr(os, "fsync", lambda fd: None)  # no power is cut here
        _check(scene, tape, first, cuts)


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("back", [False, True])
def test_a_power_cut_at_any_call_leaves_all_paths_new_or_all_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool, back: bool
) -> None:
    if many:  # files: one sync for the whole file system
        monkeypatch.setattr(limits, "RESTORE_SYNCED_SINGLY", 3)
    _campaign(tmp_path, monkeypatch, CUTS, back=back)


def _silent(*_: object) -> None: ...


def _content_of_intent(patch: pytest.MonkeyPatch) -> None:
    def hasty(path: Path, data: bytes, *, mode: int = 0o600) -> None:
        tmp = path.with_name(f".{path.name}.tmp")
        fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        os.write(fd, data)
        os.close(fd)
        os.replace(tmp, path)
        files.sync_directory(path.parent)

    patch.setattr(files, "write_atomic", hasty)


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "content of the intent": _content_of_intent,
    "name of the intent": lambda patch: patch.setattr(files, "sync_directory", _silent),
    "names beside the live paths": lambda patch: patch.setattr(places, "sync", _silent),
    "content of the fresh trees": lambda patch: patch.setattr(scribe.Scribe, "sync", _silent),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_sync_that_is_missing_is_caught(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[bug](monkeypatch)
    with pytest.raises(AssertionError):
        _campaign(tmp_path, monkeypatch, 100_000)


def _killed_build(scene: Scene, number: int) -> bool:
    """Build in a child that is killed at such a call, counted from 0. False: it came to its end before."""
    pid = os.fork()
    if pid == 0:
        calls = 0

        def dying(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **named: object) -> object:
                nonlocal calls
                calls += 1
                if calls > number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **named)

            return call

        for name in ("mkdir", "fchmod", "symlink", "open", "writev", "fsync", "link", "replace"):
            setattr(os, name, dying(getattr(os, name)))
        try:
            scene.place.build(scene.taken)
        finally:
            os._exit(0)
    _pid, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def test_a_build_killed_at_any_moment_leaves_the_live_files_alone_and_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "top").mkdir()
    scene = Scene(tmp_path / "top", monkeypatch)
    monkeypatch.setattr(limits, "RESTORE_BATCH_PARTS", 1)
    half_built, number = 0, 0
    step = int(os.environ.get("HOLDFAST_RESTORE_BUILD_STEP", "5"))
    while _killed_build(scene, number):
        number += step
        half_built += bool(scene.left())
        assert scene.picture() == scene.old
        exchange.recover(scene.place.state)
        assert scene.left() == []
        assert scene.picture() == scene.old
    assert half_built > 5
    exchange.recover(scene.place.state)
    assert scene.left() == []
    assert scene.picture() == scene.old
