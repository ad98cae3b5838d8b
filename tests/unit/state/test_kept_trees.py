"""What a restore leaves beside the live files goes when its time has come, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.state.model import Manifest, Snapshot
from holdfast.state.restore import asides, exchange, intent, kept_trees, materialize, places
from tests.harness.restore_place import Place


def _restored(place: Place, taken: tuple[Snapshot, Manifest], until_at: float) -> list[str]:
    kept_trees.make_way(place.state, taken[0].short)
    materialize.build(place.state, place.repository, *taken, rights=None, now=until_at)
    exchange.begin(place.state)
    return kept_trees.keep(place.state, until_at)


def test_kept_trees_of_two_restores_of_one_snapshot_go_each_at_its_time(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.live / "f").write_text("good")
    taken = place.take()
    (place.live / "f").write_text("first damage")
    _restored(place, taken, 100.0)
    assert intent.load(place.state) is None
    (place.live / "f").write_text("second damage")
    names = _restored(place, taken, 200.0)
    found = sorted(Path(name) for name in names)
    assert sorted((path / "f").read_text() for path in found) == ["first damage", "second damage"]
    assert sorted(place.left()) == sorted(names)
    assert {path.name.rpartition(".holdfast-")[2].partition("-")[0] for path in found} == {"before", "failed"}
    assert all(asides.is_aside(path.name.encode()) for path in found)
    assert kept_trees.drop(place.state, 50.0) == []
    assert len(kept_trees.drop(place.state, 150.0)) == 1
    (left,) = place.left()
    assert (Path(left) / "f").read_text() == "second damage"
    assert kept_trees.drop(place.state, 0.0, everything=True) == [left]
    assert place.left() == []
    assert (place.live / "f").read_text() == "good"


def test_what_could_not_be_deleted_is_not_said_to_be_gone_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    (place.live / "f").write_text("good")
    kept = _restored(place, place.take(), 100.0)
    with monkeypatch.context() as away:
        away.setattr(places.Removal, "tree", lambda self, fd, name: bool(self.left.append(f"{name}: its disk is away")))
        assert kept_trees.drop(place.state, 150.0) == []
    assert place.left() == kept
    assert kept_trees.drop(place.state, 150.0) == kept
    assert place.left() == []
