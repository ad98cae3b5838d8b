"""Tests of state wait for helper processes as long as a slow machine needs to start them."""

from __future__ import annotations

import pytest

from holdfast import limits

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FREEZE_REACH_S", "FREEZE_WATCHER_WAIT_S", "GUARD_COPY_MAX_S"):
        monkeypatch.setattr(limits, name, PATIENCE_S)
    monkeypatch.setattr(limits, "GUARD_SLACK_S", 4.0)  # some tests wait for it in vain
