"""How long a fault is watched: a starved machine gets another chance, and never without end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.drills import watch as watches
from holdfast.drills.faults import Fault
from holdfast.drills.stage import Stage
from holdfast.drills.watch import Watch
from holdfast.home import Home

FAULT = Fault(name="hang", summary="s", expect="healed", caught_s=1.0, restored_s=2.0, promise="p")
LOOKS = 4  # of one wait


class FeignedStage(Stage):
    """Starved for the first `starved_waits` waits."""

    def __init__(self, tmp_path: Path, starved_waits: int) -> None:
        super().__init__(Home(tmp_path), None, "a")  # type: ignore[arg-type]  # nobody is asked
        self.waits, self.starved_waits = 0, starved_waits

    def status(self) -> dict[str, Any] | None:
        return {"agents": [], "holdfast": {"processes": []}}

    def incidents(self) -> list[dict[str, Any]]:
        return []

    def starved(self) -> bool:
        return self.waits <= self.starved_waits

    def wait_for(self, look: Callable[[], Any], timeout_s: float) -> Any:
        self.waits += 1
        return next((found for _ in range(LOOKS) if (found := look())), None)


@pytest.mark.parametrize(
    ("starved_waits", "found_at", "waits", "found"),
    [
        (0, 3, 1, True),
        (0, 99, 1, False),  # a quiet machine has one chance
        (2, 11, 3, True),  # the third wait is the first that counts
        (2, 99, 3, False),
    ],
)
def test_a_wait_counts_only_when_the_machine_was_not_starved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starved_waits: int, found_at: int, waits: int, found: bool
) -> None:
    monkeypatch.setattr(watches, "STARVED_EVERY_S", 0.0)
    stage = FeignedStage(tmp_path, starved_waits)
    watch = Watch(stage, FAULT, 0.0)
    stage.waits = 0
    looks = iter(range(1, 1_000))
    assert (watch.until(lambda: next(looks) >= found_at) is not None) is found
    assert stage.waits == waits
    assert watch.starved is (starved_waits > 0)


def test_a_machine_that_stays_starved_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "STARVED_EVERY_S", 0.0)
    monkeypatch.setattr(watches, "STARVED_WATCH_MAX_S", 0.0)
    stage = FeignedStage(tmp_path, 10**6)
    assert Watch(stage, FAULT, 0.0).until(lambda: False) is None
