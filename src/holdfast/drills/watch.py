"""One fault under way: what was before it, and what was seen since, by looking from outside.

Invariant: times are taken here; nothing the keeper says of its own speed is used. Called by run.py and state_ways.py.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.drills import score
from holdfast.drills.faults import Fault
from holdfast.drills.score import Result
from holdfast.drills.stage import Stage, is_well

WATCH_MAX_FACTOR = 4.0  # a fault that misses its bound is still watched for so long, to say by how much
WATCH_MIN_S = 30.0
STARVED_EVERY_S = 0.5
PID_KNOWN_MAX_S = 10.0  # until a keeper that came back has asked init
STARVED_WATCH_MAX_S = 240.0  # silence gives no strikes while the machine is starved: so long it is waited for its end
_RESTORED_FROM = b"HOLDFAST_RESTORED_FROM="


class Watch:
    """One fault under way: what was before, and what was seen since."""

    def __init__(self, stage: Stage, fault: Fault, start_s: float) -> None:
        self.stage, self.fault, self.start_s = stage, fault, start_s
        self.row = stage.row() or {}
        self.known = {incident["id"] for incident in stage.incidents()}
        self.own = stage.pids()
        self.began = time.monotonic()
        self.patience_s = max(WATCH_MIN_S, WATCH_MAX_FACTOR * (fault.restored_s + start_s))
        self.incident = ""
        self.starved_mono = self.asked_mono = float("-inf")

    def since(self) -> float:
        return time.monotonic() - self.began

    def until(self, look: Callable[[], Any], timeout_s: float | None = None) -> float | None:
        """Seconds since the injection when `look` became true; a wait in which the machine was starved begins anew."""
        patience_s = self.patience_s if timeout_s is None else timeout_s

        def seen() -> Any:
            self._feel()
            return look()

        waiting = True
        while waiting:
            began = time.monotonic()
            if self.stage.wait_for(seen, patience_s):
                return self.since()
            waiting = self.starved_mono >= began and self.since() < STARVED_WATCH_MAX_S
        return None

    def _feel(self) -> None:
        """Notes when the machine was starved last."""
        now = time.monotonic()
        if now - self.asked_mono >= STARVED_EVERY_S:
            self.asked_mono = now
            if self.stage.starved():
                self.starved_mono = now

    @property
    def starved(self) -> bool:
        return self.starved_mono > float("-inf")

    def new_incident(self) -> bool:
        self._feel()
        for incident in self.stage.incidents():
            if incident["id"] not in self.known and incident["agent"] == self.stage.agent:
                self.incident = incident["id"]
                return True
        return False

    def new_and_well(self) -> bool:
        row = self.stage.row()
        return row is not None and is_well(row) and row["instance"] != self.row["instance"]

    def is_restored(self, snapshot: str) -> bool:
        """Whether the instance that runs now was told that it begins on this snapshot."""
        with contextlib.suppress(OSError):
            told = Path(f"/proc/{(self.stage.row() or {}).get('pid')}/environ").read_bytes().split(b"\0")
            return any(one.startswith(_RESTORED_FROM + snapshot[:12].encode()) for one in told)
        return False

    def untouched(self) -> str:
        """ "" when the very same process still runs. A keeper that is just back knows nobody's pid for a moment."""

        def known() -> dict[str, Any] | None:
            row = self.stage.row()
            return row if row is not None and row.get("pid") else None

        row = self.stage.wait_for(known, PID_KNOWN_MAX_S) or self.stage.row() or {}
        if row.get("pid") == self.row["pid"] and row.get("instance") == self.row["instance"]:
            return ""
        return f"the agent was restarted (process {self.row['pid']}, now {row.get('pid')})"

    def result(self, caught_s: float | None, restored_s: float | None, broken: str = "") -> Result:
        return score.judge(
            self.fault,
            self.stage.agent,
            self.start_s,
            caught_s,
            restored_s,
            broken,
            self.incident,
            starved=self.starved,
        )
