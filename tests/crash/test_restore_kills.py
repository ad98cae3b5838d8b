"""A restore of several paths, killed with SIGKILL at each of its steps, and again while it recovers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from holdfast.state.restore import asides, entries, exchange, intent, places, swap
from holdfast.state.restore.exchange import Outcome
from holdfast.state.restore.intent import Place
from tests.harness import restore_kills as kills

EVERY = int(os.environ.get("HOLDFAST_RESTORE_KILLS_EVERY", "3"))  # of the steps where two kills are combined


class Scene:
    """Six paths: a directory, one swapped by entry, one inside itself, one that appears, one that goes, a database."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.state = top / "state"
        self.home = top / "home"
        self.home.mkdir(parents=True)
        names = ("tree", "entries", "inside", "appears", "goes", "base.db")
        self.paths = [self.home / name for name in names]
        tree, entries, inside, appears, goes, base = self.paths
        for path in (tree, entries, inside, goes):
            kills.lay(path, "old", mtime_s=1_000)
        kills.lay_database(base, "old")
        (self.home / "base.db-wal").write_bytes(b"of old")
        for path in (tree, entries, appears):
            kills.lay(self._fresh(path), "new", mtime_s=2_000)
        kills.lay(inside / asides.fresh("inside", kills.SHORT), "new", mtime_s=2_000)
        kills.lay_database(self._fresh(base), "new")
        self.old = self.now()
        kills.built(
            self.state,
            [
                Place(path=str(tree), present=True, directory=True),
                Place(
                    path=str(entries),
                    present=True,
                    directory=True,
                    by_entry=True,
                    fresh_mode=0o755,
                    fresh_mtime_ns=2_000 * 10**9,
                ),
                Place(
                    path=str(inside),
                    present=True,
                    directory=True,
                    by_entry=True,
                    inside=True,
                    fresh_mode=0o755,
                    fresh_mtime_ns=2_000 * 10**9,
                    old_mode=0o755,
                    old_mtime_ns=1_000 * 10**9,
                ),
                Place(path=str(appears), present=True, directory=True),
                Place(path=str(goes), present=False, directory=False),
                Place(path=str(base), present=True, directory=False),
            ],
        )

    def _fresh(self, path: Path) -> Path:
        return path.with_name(asides.fresh(path.name, kills.SHORT))

    def now(self) -> dict[str, object]:
        found = {path.name: kills.picture(path) for path in self.paths}
        found["wal"] = kills.picture(self.home / "base.db-wal")
        inside = found["inside"]
        assert isinstance(inside, tuple)
        found["inside"] = (inside[0], inside[2])  # its own time changes as soon as a fresh tree is made in it
        return found

    def asides(self) -> list[str]:
        return [path.name for path in self.home.rglob("*") if asides.is_aside(path.name.encode())]


@pytest.fixture(autouse=True)
def _usual_umask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)  # a kill takes nothing from the kernel; a disk takes minutes
    former = os.umask(0o022)
    yield
    os.umask(former)


def _fresh_scene(tmp_path: Path) -> Scene:
    shutil.rmtree(tmp_path / "scene", ignore_errors=True)
    return Scene(tmp_path / "scene")


def _new_picture(tmp_path: Path) -> tuple[dict[str, object], list[str]]:
    scene = _fresh_scene(tmp_path)
    steps = kills.steps_of(kills.begin(scene.state))
    return scene.now(), steps


def test_an_exchange_ends_with_all_paths_new_and_keeps_the_old_ones(tmp_path: Path) -> None:
    scene = _fresh_scene(tmp_path)
    exchange.begin(scene.state)
    now = scene.now()
    assert now["goes"] is None
    assert now["wal"] is None
    assert now["appears"] is not None
    for name in ("tree", "entries", "inside", "appears"):
        picture = kills.picture(scene.home / name)
        assert picture[1] == 2_000 * 10**9  # type: ignore[index]
        assert set(picture[2]) == {"both", "only-new", "sub", "sub-new", "link"}  # type: ignore[index]
    assert len(scene.asides()) == 6  # five old versions, and the write-ahead log of one
    assert exchange.settle(scene.state)
    assert scene.asides() == []
    assert scene.now()["tree"] == now["tree"]
    assert intent.load(scene.state) is None


def test_after_a_kill_at_any_step_all_paths_are_new_or_all_are_old(tmp_path: Path) -> None:
    new, steps = _new_picture(tmp_path)
    assert len(steps) > 40
    for number in range(len(steps)):
        scene = _fresh_scene(tmp_path)
        assert kills.killed_at(number, kills.begin(scene.state))
        _recovered(scene, new, f"killed at {number} {steps[number]}")


def _recovered(scene: Scene, new: dict[str, object], why: str) -> None:
    found = exchange.recover(scene.state)
    assert scene.now() == (new if found.outcome is Outcome.NEW else scene.old), why
    again = exchange.recover(scene.state)
    assert again.outcome in (found.outcome, Outcome.NOTHING), why
    assert scene.now() == (new if found.outcome is Outcome.NEW else scene.old), why
    if found.outcome is Outcome.OLD:
        assert scene.asides() == [], why


def test_a_recovery_that_is_killed_too_is_finished_by_the_next(tmp_path: Path) -> None:
    new, steps = _new_picture(tmp_path)
    for number in range(3, len(steps), EVERY * 3):
        for second in range(number % 5, len(steps), EVERY * 5):
            scene = _fresh_scene(tmp_path)
            assert kills.killed_at(number, kills.begin(scene.state))
            kills.killed_at(second, kills.recover(scene.state))
            _recovered(scene, new, f"killed at {number} {steps[number]}, then at {second}")


def test_going_back_after_a_kill_at_any_step_brings_all_old_paths(tmp_path: Path) -> None:
    scene = _fresh_scene(tmp_path)
    exchange.begin(scene.state)
    steps = kills.steps_of(kills.back(scene.state))
    assert scene.now() == scene.old
    assert scene.asides() == []
    for number in range(len(steps)):
        scene = _fresh_scene(tmp_path)
        exchange.begin(scene.state)
        (scene.home / "base.db-wal").write_bytes(b"of new")
        (scene.paths[0] / "made while it ran").write_text("x")
        (scene.paths[1] / "made while it ran").write_text("x")
        assert kills.killed_at(number, kills.back(scene.state))
        found = exchange.recover(scene.state)
        if found.outcome is Outcome.NEW:  # killed before the intent to go back was on the disk
            assert number == 0
            exchange.back(scene.state)
        assert scene.now() == scene.old, f"killed at {number} {steps[number]}"
        assert scene.asides() == []


def test_settling_goes_on_after_a_kill_at_any_step(tmp_path: Path) -> None:
    new, _steps = _new_picture(tmp_path)
    for number in range(7):
        scene = _fresh_scene(tmp_path)
        exchange.begin(scene.state)
        assert kills.killed_at(number, kills.settle(scene.state))
        assert exchange.recover(scene.state).over
        assert scene.now() == new
        assert scene.asides() == []


def _intent_after(monkeypatch: pytest.MonkeyPatch) -> None:
    real = intent.enter

    def late(state_dir: Path, current: intent.Intent, phase: intent.Phase) -> None:
        if phase is intent.Phase.EXCHANGING:
            current.phase = phase  # said, but not written
        else:
            real(state_dir, current, phase)

    monkeypatch.setattr(intent, "enter", late)
    monkeypatch.setattr(intent, "save", lambda *_: None)


def _inode_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_is_new", lambda _place, _names: False)


def _step_unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(place: Place, step: intent.Step, ground: places.Ground, *_changed: int) -> None:
        place.step = step
        ground.at(f"step {step}")

    monkeypatch.setattr(entries, "_enter", silent)


@pytest.mark.parametrize("bug", [_intent_after, _inode_forgotten, _step_unsaid])
def test_planted_bugs_are_caught(
    bug: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, steps = _new_picture(tmp_path)
    wrong = 0
    for number in range(0, len(steps), EVERY):
        scene = _fresh_scene(tmp_path)
        with monkeypatch.context() as planted:
            bug(planted)
            kills.killed_at(number, kills.begin(scene.state))
            if bug is not _inode_forgotten:
                planted.undo()  # what recovers is sound
            try:
                found = exchange.recover(scene.state)
                wrong += scene.now() != (new if found.outcome is Outcome.NEW else scene.old)
            except HoldfastError:
                wrong += 1
    assert wrong
