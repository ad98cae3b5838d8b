"""Names of objects read back as they were composed; others are nobody's."""

from __future__ import annotations

import pytest

from holdfast.state.model import Pin, Snapshot
from holdfast.state.store import names

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize("at", [0.0, 1_790_000_000.123, 951_782_400.0, 4_000_000_000.999])
@pytest.mark.parametrize("epoch", [0, 1, 999_999, 12_345_678])
def test_a_snapshot_reads_back_from_its_name(at: float, epoch: int) -> None:
    name = names.snapshot_name(at, 42, epoch, ID)
    read = names.read_snapshot(name)
    assert read is not None
    assert (read.id, read.seq, read.epoch, read.name) == (ID, 42, epoch, name)
    assert abs(read.at - at) < 0.0015
    assert names.snapshot_object(read) == f"snaps/{name}"


def test_the_name_tells_the_time_in_utc() -> None:
    assert names.snapshot_name(1_790_000_000.5, 1, 2, ID) == f"20260921T141320500Z-0000000001-000002.{ID}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "README",
        f"20261399T141320500Z-0000000001-000001.{ID}",
        f"20260921T256120500Z-0000000001-000001.{ID}",
        f"20260921T141320500Z-1-000001.{ID}",
        f"20260921T141320500Z-0000000001-000001.{ID.upper()}",
        f"٢0260921T141320500Z-0000000001-000001.{ID}",
        f"20260921T141320500Z-0000000001-000001.{ID}\n",
    ],
)
def test_other_names_are_passed_over(name: str) -> None:
    assert names.read_snapshot(name) is None
    assert names.read_trashed(f"trash/{name}~1") is None


def test_trash_and_pins_read_back() -> None:
    snapshot = names.read_snapshot(names.snapshot_name(1_790_000_000.5, 1, 2, ID))
    assert isinstance(snapshot, Snapshot)
    trashed = names.read_trashed(names.trash_object(snapshot, 1_800_000_000))
    assert trashed is not None
    assert (trashed.snapshot, trashed.deadline) == (snapshot, 1_800_000_000)
    assert trashed.object_name == names.trash_object(snapshot, 1_800_000_000)
    assert names.read_trashed("trash/" + snapshot.name) is None
    assert names.read_trashed(f"trash/{snapshot.name}~soon") is None
    for why in ("known-good", "before / after ~ 100 % ü", "."):
        pin = Pin(id=ID, why=why)
        assert names.pin_object(pin).isascii()
        assert names.pin_object(pin).count("/") == 1
        assert names.read_pin(names.pin_object(pin)) == pin
    assert names.read_pin("pins/x~y") is None


def test_packs_lie_below_their_first_digits() -> None:
    assert names.pack_object(ID) == f"packs/01/{ID}"
    assert names.read_pack(f"packs/01/{ID}") == ID
    for other in (f"packs/02/{ID}", f"packs/{ID}", "packs/01/x", "snaps/x"):
        assert names.read_pack(other) is None
