"""A snapshot leaves agents room on their disk, and gives back what it took when there is not enough for it."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast import limits
from holdfast.state.store import keys, local_store
from holdfast.state.store.local_store import LocalStore
from holdfast.state.store.objects import StoreError
from holdfast.state.store.repository import Repository
from holdfast.worker import snapshotting
from holdfast.worker.call import explain
from holdfast.worker.protocol import Fault

TOTAL = 100 * 2**30


class Disk:
    """Has room for so many more packs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packs = 1000
        monkeypatch.setattr(local_store, "os", SimpleNamespace(**{**vars(os), "statvfs": self.look}))

    def look(self, path: Path) -> Any:
        self.packs -= 1
        free = limits.SNAPSHOT_LEAVES_BYTES - (1 if self.packs < 0 else 0)
        return SimpleNamespace(f_bavail=free, f_blocks=TOTAL, f_frsize=1)


def snapshot(tmp_path: Path) -> dict[str, Any]:
    args = {
        "agent": "one", "state_dir": str(tmp_path / "state"), "directory": str(tmp_path / "state" / "one"),
        "rights": None, "paths": [str(tmp_path / "live")], "exclude": [], "store": None, "encrypt": True,
        "capture": "guard", "recipe": "process", "spec": "{}", "cause": "timer",
    }  # fmt: skip
    call: Any = SimpleNamespace(args=args, progress=lambda *told: None)
    return snapshotting.snapshot(call)


def packs(tmp_path: Path) -> set[str]:
    return {one.name for one in LocalStore(tmp_path / "state" / "one" / "repo").list("packs/")}


def test_a_snapshot_without_room_leaves_the_disk_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "a").write_text("first")
    first = snapshot(tmp_path)["snapshot"]["id"]
    before = packs(tmp_path)
    (tmp_path / "live" / "b").write_bytes(random.Random(1).randbytes(30 * 2**20))
    disk.packs = 2
    with pytest.raises(StoreError, match=r"less than 1\.07 GB are free on its disk") as caught:
        snapshot(tmp_path)
    assert explain(caught.value)[0] is Fault.FULL
    assert packs(tmp_path) == before
    disk.packs = 1000
    assert snapshot(tmp_path)["snapshot"]["seq"] == 2
    recovery = keys.recovery_key(tmp_path / "state")
    repository = Repository.open(LocalStore(tmp_path / "state" / "one" / "repo"), recovery)
    kept = {one.id: repository.manifest(one) for one in repository.snapshots()}
    assert first in kept
    for manifest in kept.values():
        entry = manifest.roots[0].entry
        assert entry is not None
        for file in repository.tree(entry.blobs[0]):
            assert sum(map(len, repository.entry_stream(file))) == file.size


def test_what_was_committed_though_its_put_failed_keeps_its_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "a").write_text("first")
    put = LocalStore.put

    def fails_late(self: LocalStore, name: str, data: Any) -> bool:
        created = put(self, name, data)
        if name.startswith("snaps/"):
            raise StoreError("the directory could not be synced") from OSError(errno.ENOSPC, "full")
        return created

    monkeypatch.setattr(LocalStore, "put", fails_late)
    with pytest.raises(StoreError):
        snapshot(tmp_path)
    assert packs(tmp_path)
