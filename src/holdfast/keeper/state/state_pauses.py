"""Whether snapshots by the clock stand still because memory or disk are short, and what is said of it.

Invariant: a pause is said once when it lasts and once when it is over; a short one is not worth a word. Called by
snapshots.py whenever a snapshot is due; the rule itself is state/keeping/schedule.py's.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast import limits
from holdfast.health.resources import is_full
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.watching.starvation import Starvation
from holdfast.state.keeping import schedule


class Pauses:
    """`where`: a directory on the disk that keeps the repositories."""

    def __init__(self, starvation: Starvation, recorder: Recorder, where: Path) -> None:
        self._starvation = starvation
        self._recorder = recorder
        self._where = where
        self.why = ""  # one clause; "" nothing speaks against snapshots
        self._said = False
        self._since_mono = 0.0
        self._disk_full = False

    @property
    def is_long(self) -> bool:
        """Worth a warning."""
        return bool(self.why) and self._said

    def look(self, now: float) -> str:
        """Why nothing is made by the clock now; "": nothing speaks against it."""
        self._starvation.feel(now)
        self._look_at_disk()
        stalled = self._starvation.pressure.short_of
        why = schedule.pause(stalled, disk_full=self._disk_full, where=str(self._where))
        if why and not self.why:
            self._since_mono = now
        self.why, before = why, self.why
        if why and not self._said and now - self._since_mono >= limits.SNAPSHOT_PAUSE_SAID_S:
            self._said = True
            self._recorder.record("snapshot.paused", "", f"no snapshots are made by the clock: {why}", {"why": why})
        elif not why and self._said:
            self._said = False
            lasted_s = round(now - self._since_mono)
            text = f"snapshots are made by the clock again after {lasted_s} s ({before} before)"
            self._recorder.record("snapshot.resumed", "", text, {"paused_s": lasted_s})
        return why

    def _look_at_disk(self) -> None:
        try:
            disk = os.statvfs(self._where)
        except OSError:
            return
        self._disk_full = is_full(
            disk.f_bavail * disk.f_frsize,
            disk.f_blocks * disk.f_frsize,
            disk.f_favail > 0 or disk.f_files == 0,
            was=self._disk_full,
        )
