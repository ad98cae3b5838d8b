"""What the use of a resource means: well, degraded, or an alarm that a person should hear of. Pure.

Invariant: nothing here is ever FAILING, so nothing is restarted for what it uses; every level is left later than it
is entered, so that a value on the border does not flap; the words stay the same while the level does, since each
change of them is a record. Called by keeper.resources and keeper.node_watch.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast import limits
from holdfast.health.trend import Trend, limit_in_s
from holdfast.sizes import size
from holdfast.spec.model import Limits, Resources

WELL, TOLD, ALARM = 0, 1, 2


class Standing(NamedTuple):
    """What is held of one resource. `detail`: one clause while the level is not WELL; `soon_s`: as it was told."""

    level: int = WELL
    detail: str = ""
    since_mono: float | None = None  # cpu: busy since then
    soon_s: float | None = None  # memory: the time to the limit that the words name


_WELL = Standing()


def memory(
    before: Standing, used_bytes: int | None, limit_bytes: int | None, trend: Trend | None, wanted: Resources
) -> Standing:
    """Against the limit: told from `memory_warn` on, or when growth reaches it soon; alarm from `memory_alarm` on."""
    if used_bytes is None or not limit_bytes:
        return _WELL
    share = used_bytes / limit_bytes
    level = ALARM if _over(share, wanted.memory_alarm, before.level >= ALARM) else WELL
    soon_s = limit_in_s(used_bytes, limit_bytes, trend)
    near = limits.TREND_TOLD_S * (limits.TREND_LEAVE_FACTOR if before.soon_s is not None else 1.0)
    told_s = soon_s if soon_s is not None and soon_s <= near and share >= limits.TREND_SHARE_MIN else None
    if level < ALARM and (_over(share, wanted.memory_warn, before.level >= TOLD) or told_s is not None):
        level = TOLD
    if level == WELL:
        return _WELL
    if level == before.level and _same_story(before.soon_s, told_s):
        return before
    words = f"{share:.0%} of its limit of {size(limit_bytes)} is in use"
    if told_s is not None and trend is not None:
        rate = f"{size(round(trend.slope_bytes_s * 60))}/min"
        words += f"; reaches it in about {about(told_s)} at {rate}"
    return Standing(level, words, None, told_s)


def _same_story(before_s: float | None, now_s: float | None) -> bool:
    """Whether the time that was named is still about right."""
    if before_s is None or now_s is None:
        return before_s is None and now_s is None
    return now_s > before_s * limits.TREND_RETOLD_SHARE


def cpu(before: Standing, share: float | None, now: float, wanted: Resources, limit_cores: float | None) -> Standing:
    """Busy above `cpu` of its limit (of one core without a limit) for `cpu_for_s`. A pause in between begins anew."""
    if share is None or not _over(share, wanted.cpu, before.level >= TOLD):
        return _WELL
    since = now if before.since_mono is None else before.since_mono
    if before.level >= TOLD:
        return before
    if now - since < wanted.cpu_for_s:
        return Standing(WELL, "", since)
    whole = "one core" if limit_cores is None else f"its {limit_cores:g} cores"
    return Standing(TOLD, f"above {wanted.cpu:.0%} of {whole} for {about(wanted.cpu_for_s)}", since)


def descriptors(before: Standing, count: int | None, most: int | None, wanted: Resources) -> Standing:
    """Open files of its process that has most, against the limit on them."""
    if count is None or not most or not _over(count / most, wanted.descriptors, before.level >= TOLD):
        return _WELL
    return before if before.level >= TOLD else Standing(TOLD, f"{count} of {most} open files")


def processes(before: Standing, count: int | None, wanted: Resources, held: Limits) -> Standing:
    """Against `processes`, and against the limit on processes where there is one."""
    share, most = 0.0, 0
    for bound, part in ((wanted.processes, 1.0), (held.pids, limits.PIDS_WARN_SHARE)):
        if count is not None and bound and count / (bound * part) > share:
            share, most = count / (bound * part), bound
    if not _over(share, 1.0, before.level >= TOLD):
        return _WELL
    return before if before.level >= TOLD else Standing(TOLD, f"{count} processes; {most} is its bound")


def own_disk(before: Standing, used_bytes: int | None, wanted: Resources) -> Standing:
    """What its own directories hold, against `disk_bytes`."""
    bound = wanted.disk_bytes
    if used_bytes is None or not bound or not _over(used_bytes / bound, 1.0, before.level >= TOLD):
        return _WELL
    if before.level >= TOLD:
        return before
    return Standing(TOLD, f"its directories hold {size(used_bytes)}; {size(bound)} is its bound")


def node_disk(before: Standing, share: float, where: str, enter: float) -> Standing:
    """A filesystem of the node: one standing for the node, whoever fills it."""
    if not _over(share, enter, before.level >= ALARM):
        return _WELL
    return before if before.level >= ALARM else Standing(ALARM, f"the disk of {where} is {share:.0%} full")


def is_full(free_bytes: int, total_bytes: int, files_left: bool, *, was: bool) -> bool:
    """Whether writes to a filesystem fail now or in a moment. Left when there is clearly room again."""
    least = min(limits.DISK_FULL_BYTES, round(limits.DISK_OUT_SHARE * total_bytes))
    return not files_left or free_bytes < least * (limits.DISK_ROOM_FACTOR if was else 1.0)


def cpu_share(before_s: float | None, now_s: float | None, elapsed_s: float, limit_cores: float | None) -> float | None:
    """Share of its limit, or of one core, used between two looks; None when they do not compare."""
    if before_s is None or now_s is None or elapsed_s <= 0 or now_s < before_s:
        return None
    return (now_s - before_s) / elapsed_s / (limit_cores or 1.0)


def _over(value: float, enter: float, was: bool) -> bool:
    return value >= (enter * limits.RESOURCE_LEAVE_FACTOR if was else enter)


def about(seconds: float) -> str:
    """A rough duration: what it says must not pretend to know more."""
    if seconds < 90:
        return f"{max(1, round(seconds / 5) * 5)} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{round(minutes / 5) * 5 if minutes >= 20 else round(minutes)} min"
    return f"{round(minutes / 60)} h"
