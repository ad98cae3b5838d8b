"""What snapshots leave out moves with the agent: over into the restored tree, and back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.state.restore import asides, carrying, exchange, intent, kept_trees, places
from holdfast.state.restore.intent import Phase, Place
from tests.harness import restore_kills as kills


class Scene:
    def __init__(self, top: Path, patterns: list[str], only: str = "") -> None:
        self.top, self.state, self.data = top, top / "state", top / "data"
        self.data.mkdir(parents=True)
        self.place = self.data / only if only else self.data
        self.place.mkdir(exist_ok=True)
        self.fresh = self.place.with_name(asides.fresh(self.place.name, kills.SHORT))
        self.fresh.mkdir()
        current = kills.built(self.state, [Place(path=str(self.place), present=True, directory=True)])
        current.left_out, current.state_paths = [patterns, []], [str(self.data)]
        intent.save(self.state, current)

    def begin(self) -> list[str]:
        exchange.begin(self.state)
        return carrying.over(self.state)

    @property
    def before(self) -> Path:
        return self.place.with_name(asides.before(self.place.name, kills.SHORT))


def test_left_out_entries_move_over_and_others_stay(tmp_path: Path) -> None:
    scene = Scene(tmp_path, ["cache/", "*.log", "models/big"])
    for name in ("cache/a", "deep/cache/b", "models/big/weights", "models/small", "late/deep/c.log", "own.log"):
        path = scene.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (scene.fresh / "deep").mkdir()
    (scene.fresh / "own.log").write_text("of the snapshot")
    inode = (scene.data / "models" / "big").stat().st_ino
    assert scene.begin() == []
    for name in ("cache/a", "deep/cache/b", "models/big/weights", "late/deep/c.log"):
        assert (scene.data / name).read_text() == name
    assert (scene.data / "models" / "big").stat().st_ino == inode  # renamed, not copied
    assert not (scene.data / "models" / "small").exists()
    assert (scene.data / "own.log").read_text() == "of the snapshot"
    assert (scene.before / "own.log").read_text() == "own.log"
    (scene.data / "cache" / "made since").write_text("x")
    carrying.back(scene.state)
    exchange.back(scene.state)
    assert (scene.data / "cache" / "a").read_text() == "cache/a"
    assert (scene.data / "cache" / "made since").exists()
    assert (scene.data / "models" / "small").exists()
    assert (scene.data / "own.log").read_text() == "own.log"
    assert not scene.fresh.exists()


def test_patterns_are_seen_from_the_state_path_also_when_one_path_is_restored(tmp_path: Path) -> None:
    scene = Scene(tmp_path, ["/sub/cache"], only="sub")
    (scene.place / "cache").mkdir()
    (scene.place / "cache" / "a").write_text("a")
    assert scene.begin() == []
    assert (scene.place / "cache" / "a").read_text() == "a"


def _killed_at_rename(number: int, state: Path) -> bool:
    child = os.fork()
    if child == 0:
        real, left = places.move, [number]

        def counted(from_fd: int, old: str, to_fd: int, new: str) -> None:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            real(from_fd, old, to_fd, new)

        places.move = counted
        carrying.over(state)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_it_is_done_once_and_goes_on_after_a_kill_at_any_rename(tmp_path: Path) -> None:
    for number in range(4):
        scene = Scene(tmp_path / str(number), ["*.log"])
        for name in "abcd":
            (scene.data / f"{name}.log").write_text(name)
        exchange.begin(scene.state)
        assert _killed_at_rename(number, scene.state)
        assert carrying.over(scene.state) == []
        assert {path.name for path in scene.data.iterdir()} == {"a.log", "b.log", "c.log", "d.log"}
        assert list(scene.before.iterdir()) == []
        (scene.before / "e.log").write_text("put there later")
        assert carrying.over(scene.state) == []
        assert (scene.before / "e.log").exists()


def test_what_cannot_move_is_said_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, ["cache/"])
    (scene.data / "cache").mkdir()
    exchange.begin(scene.state)
    monkeypatch.setattr(places, "move", lambda *_: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link")))
    notes = carrying.over(scene.state)
    assert len(notes) == 1
    assert "cache" in notes[0]
    current = intent.load(scene.state)
    assert current is not None
    assert current.left_behind
    assert (scene.before / "cache").is_dir()


def test_kept_trees_are_named_make_way_and_go_when_their_time_is_up(tmp_path: Path) -> None:
    scene = Scene(tmp_path, [])
    (scene.data / "old").write_text("x")
    scene.begin()
    assert kept_trees.keep(scene.state, 100.0) == [str(scene.before)]
    assert intent.load(scene.state) is None
    assert kept_trees.drop(scene.state, 99.0) == []
    assert (scene.before / "old").exists()
    kept_trees.make_way(scene.state, kills.SHORT)
    (moved,) = kept_trees.paths(kept_trees.load(scene.state))
    assert not scene.before.exists()
    assert Path(moved, "old").exists()
    assert asides.is_aside(os.path.basename(moved).encode())
    kept_trees.make_way(scene.state, kills.SHORT)
    scene.before.mkdir()  # of the next restore: not ours
    assert kept_trees.drop(scene.state, 100.0) == [moved]
    assert not os.path.exists(moved)
    assert scene.before.exists()
    assert kept_trees.load(scene.state) == []


def test_a_restore_that_was_not_exchanged_carries_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, ["cache/"])
    (scene.data / "cache").mkdir()
    assert carrying.over(scene.state) == []
    assert kept_trees.keep(scene.state, 1.0) == []
    current = intent.load(scene.state)
    assert current is not None
    assert current.phase is Phase.BUILT
    assert (scene.data / "cache").is_dir()
