"""How far log servers are behind: HOME/logger/shipping.json, written by the shipper, read by the keeper.

Invariants: only servers that lag are named, without anything of their address that may be secret; the file is replaced
whole, and only when it says something new, since the keeper wakes up for it. Called by shipper.py and
keeper/watching/log_settings.py.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from holdfast import limits
from holdfast.logs import settings
from holdfast.spec.model import Shipping

FILE = "shipping.json"


class Lag(Struct, frozen=True, kw_only=True):
    """One server. `behind_bytes` of stored lines wait for it, the oldest since `since_at` (wall clock).

    `late`: longer than limits.SHIP_LATE_S; `why`: its last refusal, "" when it takes lines and is slow.
    """

    kind: str
    server: str
    behind_bytes: int
    since_at: float
    late: bool
    why: str = ""


class Lags(Struct, frozen=True, kw_only=True):
    """All of shipping.json, by agent."""

    version: int = 1
    agents: dict[str, list[Lag]] = {}


def lag_of(target: Shipping, behind: tuple[int, int] | None, why: str, now_at: float) -> Lag | None:
    """None unless lines wait longer than shipping takes. `behind`: bytes, and when the oldest came (ns). Pure."""
    if behind is None or now_at - behind[1] / 1e9 < limits.SHIP_LAG_SHOWN_S:
        return None
    late = now_at - behind[1] / 1e9 >= limits.SHIP_LATE_S
    since_at = round(behind[1] / 1e9, 3)
    return Lag(kind=target.kind, server=_server(target), behind_bytes=behind[0], since_at=since_at, late=late, why=why)


def is_news(told: Lags, now: Lags, age_s: float) -> bool:
    """Whether `now` is worth a write: at once when another server lags or one is late; figures now and then. Pure."""
    return _shape(told) != _shape(now) or (told != now and age_s >= limits.SHIP_LAG_TOLD_EVERY_S)


def words(lags: list[Lag]) -> str:
    """What is said of those that are late, "" when none is; the same words as long as it is the same. Pure."""
    return "; ".join(_late(lag) for lag in lags if lag.late)


def _late(lag: Lag) -> str:
    since = datetime.fromtimestamp(lag.since_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{lag.kind} {lag.server} has not taken lines since {since}" + (f" ({lag.why})" if lag.why else "")


def write(home: Path, lags: Lags) -> bool:
    """False: the disk refused it; it is tried again."""
    path = home / settings.DIRECTORY / FILE
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(msgspec.json.encode(lags))
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        return False
    return True


def read(home: Path) -> Lags:
    """Nothing lags when there is nothing to be read."""
    try:
        return msgspec.json.decode((home / settings.DIRECTORY / FILE).read_bytes(), type=Lags)
    except (OSError, msgspec.DecodeError):
        return Lags()


def _shape(lags: Lags) -> dict[str, list[tuple[str, str, bool]]]:
    return {name: [(lag.kind, lag.server, lag.late) for lag in theirs] for name, theirs in lags.agents.items()}


def _server(target: Shipping) -> str:
    """Host and port, or the socket's path."""
    parts = urlsplit(target.url)
    return parts.netloc.rpartition("@")[2] or parts.path
