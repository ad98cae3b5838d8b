"""Alarms about resources: raised once when a level is crossed, taken back when it is left, durable in between.

Invariant: a person hears of one crossing once, however often the keeper starts over, and not again within
ALARM_AGAIN_S when the value dances around the level; the ledger has every crossing. Called by resources.py and
node_watch.py.
"""

from __future__ import annotations

import os
from typing import Any

from msgspec import Struct

from holdfast import limits
from holdfast.clock import Clock
from holdfast.errors import HoldfastError
from holdfast.incidents.model import incident_id
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.telling.outgoing import Outgoing


class Alarm(Struct, frozen=True, kw_only=True):
    """`on`: the level is crossed now. `told_at`: wall clock of the last alert about it."""

    key: str  # "memory:AGENT" or "disk:PATH"
    on: bool
    told_at: float = 0.0


class Alarms:
    """`known` is stored and recalled by the keeper."""

    def __init__(self, recorder: Recorder, outgoing: Outgoing, clock: Clock, home_id: str) -> None:
        self.known: dict[str, Alarm] = {}
        self._recorder = recorder
        self._outgoing = outgoing
        self._clock = clock
        self._home_id = home_id

    def raise_(self, key: str, agent: str, said: HoldfastError, *, quiet: bool = False) -> None:
        """Idempotent while the level is crossed. `quiet`: recorded, and nobody is told (maintenance)."""
        before = self.known.get(key)
        if before is not None and before.on:
            return
        now_at = self._clock.now_at()
        told_at = before.told_at if before is not None else 0.0
        tell = not quiet and not 0 <= now_at - told_at < limits.ALARM_AGAIN_S
        alarm = Alarm(key=key, on=True, told_at=now_at if tell else told_at)
        self._put(alarm, "resource.alarm", agent, said.summary)
        if tell:
            alert_id = incident_id(self._home_id, key, 0, now_at)
            self._outgoing.raise_notice(alert_id, agent, said, os.uname().nodename)

    def clear(self, key: str, agent: str, text: str) -> None:
        """The level was left. Idempotent."""
        before = self.known.get(key)
        if before is not None and before.on:
            self._put(Alarm(key=key, on=False, told_at=before.told_at), "resource.well", agent, text)

    def _put(self, alarm: Alarm, kind: str, agent: str, text: str) -> None:
        self.known.pop(alarm.key, None)
        self.known[alarm.key] = alarm
        body: dict[str, Any] = {"alarm": {"key": alarm.key, "on": alarm.on, "told_at": alarm.told_at}}
        self._recorder.record(kind, agent, text, body)
        prune(self.known)


def prune(known: dict[str, Alarm]) -> None:
    """Forget the oldest that are over, beyond ALARMS_KEPT."""
    over = [key for key, alarm in known.items() if not alarm.on]
    for key in over[: max(0, len(known) - limits.ALARMS_KEPT)]:
        del known[key]
