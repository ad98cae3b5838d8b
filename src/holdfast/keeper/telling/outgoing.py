"""Alerts on their way: raised once, tried until every channel took them, durable in store and ledger.

Invariant: an alert is in the ledger before it is sent; the id of its incident keeps it from being raised twice.
Called by the casebook, the keeper's timers, and the API's test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast import limits
from holdfast.alerts import hook, outbox
from holdfast.alerts.outbox import Waiting
from holdfast.clock import Clock
from holdfast.errors import HoldfastError
from holdfast.incidents.model import Incident
from holdfast.keeper.recorder import Recorder
from holdfast.keeper.tasks import Tasks
from holdfast.spec.model import AlertChannel


class Outgoing:
    """`channels` gives the channels of the present fleet; `changed(id, waiting or None)` stores."""

    def __init__(
        self,
        clock: Clock,
        tasks: Tasks,
        channels: Callable[[], tuple[AlertChannel, ...]],
        changed: Callable[[str, Waiting | None], None],
        recorder: Recorder,
    ) -> None:
        self._recorder = recorder
        self.waiting: dict[str, Waiting] = {}
        self.tested = ""  # keys of the channels that took a test alert, joined; "" = none did
        self.last_failure = ""
        self._clock = clock
        self._tasks = tasks
        self._channels = channels
        self._changed = changed
        self._timer: asyncio.TimerHandle | None = None
        self._sending = False

    def raise_alert(self, incident: Incident, said: HoldfastError, host: str) -> None:
        """Put it into the ledger, then send. Idempotent by the incident's id."""
        if incident.id in self.waiting:
            return
        now_at = self._clock.now_at()
        alert = hook.Alert(
            kind="alert",
            agent=incident.agent,
            title=f"Holdfast on {host}: {incident.agent} needs you",
            text=f"{said.summary}. {said.next_step}",
            at=now_at,
            incident=incident.id,
            cause=incident.cause,
            exit=incident.exit,
            tiers=incident.tiers,
            next=said.next_step,
            host=host,
            postmortem=incident.postmortem,
        )
        waiting = Waiting(id=incident.id, alert=alert, raised_at=now_at, next_at=now_at)
        self._put(waiting)
        self._record("alert.raised", incident.agent, "an alert was raised", {"waiting": msgspec.to_builtins(waiting)})
        self.look()

    def raise_notice(
        self, alert_id: str, agent: str, said: HoldfastError, host: str, incident: Incident | None = None
    ) -> None:
        """As `raise_alert`, about the node or a resource: there need not be an incident. Idempotent by `alert_id`."""
        if alert_id in self.waiting:
            return
        now_at = self._clock.now_at()
        alert = hook.Alert(
            kind="alert",
            agent=agent,
            title=f"Holdfast on {host}: {agent or 'this machine'} needs a look",
            text=f"{said.summary}. {said.next_step}",
            at=now_at,
            incident="" if incident is None else incident.id,
            cause=said.summary,
            next=said.next_step,
            host=host,
            postmortem=None if incident is None else incident.postmortem,
        )
        waiting = Waiting(id=alert_id, alert=alert, raised_at=now_at, next_at=now_at)
        self._put(waiting)
        self._record("alert.raised", agent, "an alert was raised", {"waiting": msgspec.to_builtins(waiting)})
        self.look()

    def look(self) -> None:
        """Send what is due, and set the timer for what is not. Called after a start and after a change of channels."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.waiting or not self._channels() or self._sending:
            return
        delay_s = min(waiting.next_at for waiting in self.waiting.values()) - self._clock.now_at()
        if delay_s > 0:
            # Never longer than the longest pause: a clock set back must not silence alerts.
            delay_s = min(delay_s, limits.ALERT_RETRY_MAX_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._timer = None
        self._sending = True
        self._tasks.spawn(self._send_due())

    async def _send_due(self) -> None:
        try:
            now_at = self._clock.now_at()
            due = [it for it in self.waiting.values() if it.next_at <= now_at + limits.ALERT_RETRY_FIRST_S / 2]
            for waiting in due or list(self.waiting.values())[:1]:
                await self._send(waiting)
        finally:
            self._sending = False
        self.look()

    async def _send(self, waiting: Waiting) -> None:
        channels = self._channels()
        open_ones = outbox.open_channels(waiting, channels)
        outcomes = await asyncio.gather(*(hook.send(channel, waiting.alert) for channel in open_ones))
        for outcome in outcomes:
            kind = "alert.sent" if outcome.ok else "alert.failed"
            words = f"alert through {outcome.channel}: {'delivered' if outcome.ok else outcome.reason}"
            if outcome.ok or waiting.tries == 0:
                self._record(kind, waiting.alert.agent, words, {"incident": waiting.id})
        failed = [outcome for outcome in outcomes if not outcome.ok]
        self.last_failure = f"{failed[0].channel}: {failed[0].reason}" if failed else ""
        took = [channel for channel, outcome in zip(open_ones, outcomes, strict=True) if outcome.ok]
        changed = outbox.after(waiting, took, channels, self._clock.now_at())
        if changed is not None:
            self._put(changed)
            return
        self.waiting.pop(waiting.id, None)
        self._changed(waiting.id, None)
        body = {"delivered": waiting.id}
        self._record("alert.done", waiting.alert.agent, "every channel took the alert, or it is a week old", body)

    async def test(self, host: str) -> list[hook.Outcome]:
        """One test alert through every channel, at once; remembers which took it."""
        channels = self._channels()
        alert = hook.Alert(
            kind="test",
            agent="",
            title=f"Holdfast on {host}: test",
            text="This is a test alert of Holdfast. Nothing is wrong.",
            at=self._clock.now_at(),
            host=host,
        )
        outcomes = list(await asyncio.gather(*(hook.send(channel, alert) for channel in channels)))
        took = [outbox.channel_key(channel) for channel, it in zip(channels, outcomes, strict=True) if it.ok]
        self.tested = ",".join(sorted(took))
        words = ", ".join(f"{it.channel} {'took it' if it.ok else it.reason}" for it in outcomes) or "no channel"
        self._record("alert.tested", "", f"test alert: {words}", {"tested": self.tested})
        return outcomes

    def untested(self) -> bool:
        """Whether no channel of the present fleet has ever taken a test or a real alert."""
        took = set(self.tested.split(","))
        return not any(outbox.channel_key(channel) in took for channel in self._channels())

    def _put(self, waiting: Waiting) -> None:
        self.waiting[waiting.id] = waiting
        self._changed(waiting.id, waiting)
        while len(self.waiting) > limits.ALERTS_WAITING_MAX:
            oldest = next(iter(self.waiting))
            del self.waiting[oldest]
            self._changed(oldest, None)

    def _record(self, kind: str, agent: str, text: str, body: dict[str, Any]) -> None:
        self._recorder.record(kind, agent, text, body, durable=kind == "alert.raised")

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
