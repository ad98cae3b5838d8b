"""Alerts that still have to reach somebody: which to send now, and when to try again. Pure.

Invariant: an alert leaves the outbox only when every channel configured took it, or when it is a week old; a
channel that took it does not get it again. The keeper stores each Waiting durably and calls `due` and `after`.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from holdfast import limits
from holdfast.alerts.hook import Alert
from holdfast.spec.model import AlertChannel


class Waiting(Struct, kw_only=True):
    """One alert under way. Wall times, since it outlives boots."""

    id: str
    alert: Alert
    raised_at: float
    next_at: float
    tries: int = 0
    delivered: tuple[str, ...] = ()  # keys of the channels that took it


def channel_key(channel: AlertChannel) -> str:
    """A name for a channel that survives a change of the others and carries no secret."""
    return hashlib.sha256(msgspec.json.encode(channel)).hexdigest()[:16]


def open_channels(waiting: Waiting, channels: tuple[AlertChannel, ...]) -> list[AlertChannel]:
    """Who still has to be told."""
    return [channel for channel in channels if channel_key(channel) not in waiting.delivered]


def after(
    waiting: Waiting, delivered: list[AlertChannel], channels: tuple[AlertChannel, ...], now_at: float
) -> Waiting | None:
    """The state after one round of sending; None when there is nothing more to do."""
    keys = (*waiting.delivered, *(channel_key(channel) for channel in delivered))
    tries = waiting.tries + 1
    changed = msgspec.structs.replace(waiting, delivered=keys, tries=tries, next_at=now_at + retry_delay_s(tries))
    if not open_channels(changed, channels) or now_at - waiting.raised_at > limits.ALERT_KEPT_S:
        return None
    return changed


def retry_delay_s(tries: int) -> float:
    """10 s, doubling, up to one hour."""
    return min(limits.ALERT_RETRY_MAX_S, limits.ALERT_RETRY_FIRST_S * 2.0 ** min(tries - 1, 20))
