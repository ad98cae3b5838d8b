"""How far the second place is behind, when the next upload is due, and when somebody hears of it. Pure.

Invariant: what is waiting is counted from this machine's own list, so an hour without the second place shows as an
hour, and nothing that was never uploaded can look uploaded. Called by upload.py, the keeper and the API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from holdfast import limits
from holdfast.health.resources import about
from holdfast.sizes import size
from holdfast.state.store.objects import Stored


class Lag(Struct, frozen=True, kw_only=True):
    """`behind_s`: since the oldest snapshot that is only here and newer than all that are there; 0.0: nothing waits.

    What would be lost with this machine is what changed in that time.
    """

    behind_s: float = 0.0
    snapshots: int = 0  # only here
    objects: int = 0
    bytes: int = 0  # waiting to be sent
    newest_there_at: float | None = None  # of the newest snapshot in the second place; None: none is there
    failures: int = 0  # uploads in a row that did not get through
    error: str = ""  # of the last one


def measure(
    snapshots: Iterable[tuple[str, float]],
    here: Iterable[Stored],
    there: Mapping[str, int],
    now_at: float,
    *,
    failures: int = 0,
    error: str = "",
) -> Lag:
    """`snapshots`: object names and times, in their order (by number); `there`: names and sizes."""
    only_here: list[float] = []
    newest_there = None
    for name, at in snapshots:
        if name in there:
            newest_there, only_here = at, []
        else:
            only_here.append(at)
    waiting = [found for found in here if found.name not in there]
    return Lag(
        behind_s=max(0.0, now_at - only_here[0]) if only_here else 0.0,
        snapshots=len(only_here),
        objects=len(waiting),
        bytes=sum(found.size for found in waiting),
        newest_there_at=newest_there,
        failures=failures,
        error=error,
    )


def is_late(lag: Lag, store_every_s: float) -> bool:
    """Whether somebody should hear of it: well beyond the time that may pass between two uploads."""
    return lag.behind_s > store_every_s + limits.REMOTE_LAG_ALERT_S


def again_s(failures: int) -> float:
    """How long the queue waits after so many failures in a row, seconds."""
    if failures <= 0:
        return 0.0
    doubled = limits.UPLOAD_AGAIN_FIRST_S * 2.0 ** min(failures - 1, 16)
    return float(min(doubled, limits.UPLOAD_AGAIN_LONGEST_S))


def due_at(every_s: float, uploaded_at: float | None, tried_at: float | None, failures: int) -> float:
    """When the next upload may begin, given that something waits; wall clock. 0.0: at once.

    A clock that was set back makes at most one interval longer: the caller treats a time more than one interval ahead
    as due.
    """
    if failures and tried_at is not None:
        return tried_at + again_s(failures)
    return 0.0 if uploaded_at is None else uploaded_at + every_s


def sentence(lag: Lag, where: str) -> str:
    """For people."""
    if not lag.objects and not lag.snapshots:
        return f"{where} has everything"
    since = f"remote lag {about(lag.behind_s)}: " if lag.behind_s else "remote lag: "
    waiting = f"{lag.snapshots} snapshot(s), {size(lag.bytes)} wait for {where}"
    return since + waiting + (f"; {lag.error}" if lag.error else "")
