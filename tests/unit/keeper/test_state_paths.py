"""Looks at an agent's state paths never hold up the loop."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from holdfast import limits
from holdfast.keeper.state import state_paths
from holdfast.keeper.watching.errands import Errands


def test_what_is_not_there_is_told_and_a_link_to_nowhere_is_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    paths = (str(tmp_path / "link"), str(tmp_path / "gone"), str(tmp_path))
    assert asyncio.run(state_paths.missing(Errands(), "one", paths)) == [str(tmp_path / "gone")]


def test_a_mount_that_does_not_answer_holds_up_nobody_and_counts_as_there(monkeypatch: pytest.MonkeyPatch) -> None:
    released, here = threading.Event(), threading.get_ident()

    def hangs(path: str) -> bool:
        assert threading.get_ident() != here
        return released.wait(60.0)

    monkeypatch.setattr(limits, "DISK_LOOK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(os.path, "lexists", hangs)
    try:
        assert asyncio.run(state_paths.missing(Errands(), "one", ("/srv/dead",))) == []
    finally:
        released.set()


def test_the_keeper_asks_nowhere_else() -> None:
    keeper = Path(state_paths.__file__).parent
    for module in ("removing.py", "restore_requests.py", "restoring.py", "tier_three.py", "snapshots.py"):
        assert "lexists" not in (keeper / module).read_text()
