"""A mount that does not answer hides no other disk, and is asked again when it answers."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from holdfast import limits
from holdfast.home import Home
from holdfast.keeper.tasks import Tasks
from holdfast.keeper.watching.disk_watch import DiskWatch
from holdfast.node import mounts, senses
from holdfast.node.senses import Disk
from tests.unit.keeper.test_collecting import hung


def test_a_dead_mount_hides_no_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nfs").mkdir()
    released = threading.Event()

    def disks(paths: dict[str, list[str]]) -> list[Disk]:
        if "far" in paths:
            released.wait(30.0)
            return [Disk("/far", 0.5, 10**10, 2 * 10**10, True, tuple(paths))]
        return [Disk("/near", 1.0, 0, 2 * 10**10, True, tuple(paths))]

    monkeypatch.setattr(senses, "disks", disks)
    monkeypatch.setattr(mounts, "read", lambda: {str(tmp_path / "nfs"): "nfs4"})
    monkeypatch.setattr(limits, "DISK_LOOK_TIMEOUT_S", 1.0)  # a loaded machine answers for the near one

    async def check() -> None:
        far = hung()
        far.spec = structs.replace(far.spec, name="far", working_dir=str(tmp_path / "nfs"), recipe_data={})
        alarms: Any = SimpleNamespace(raise_=lambda *told: None, clear=lambda *told: None)
        tasks = Tasks()
        watch = DiskWatch({"far": far}, Home(tmp_path), alarms, tasks)

        async def seen() -> list[str]:
            watch.look()
            await tasks.finish(10.0)
            return [view.path for view in watch.views()]

        assert await seen() == ["/near"]
        assert await seen() == ["/near"]
        assert [sign.why for sign in watch.signs()] == ["the disk of /near is full"]
        released.set()
        async with asyncio.timeout(10.0):
            while await seen() != ["/near", "/far"]:
                pass

    asyncio.run(check())
