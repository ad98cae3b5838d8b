"""When which agent's state is kept: each at its own moment, none while it is down and unchanged, later after failures.

Invariant: pure. An agent's moments depend on its name alone, so that a hundred agents with the same `every` do not come
at once, whenever they or Holdfast were started; the next moment is looked for when a snapshot has ended, so that one
never overlaps the next. Times are monotonic seconds. Called by the keeper's snapshots.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from holdfast import limits


class Sight(NamedTuple):
    """One agent as it is now. `every_s` None: no snapshots by the clock."""

    name: str
    every_s: float | None
    running: bool


class Course(Struct, frozen=True, kw_only=True):
    """What is remembered of one agent. `due_mono` None: nothing is to be kept until something happens."""

    due_mono: float | None = None
    running: bool | None = None  # as it was followed last; None: it was not yet
    failures: int = 0  # in a row


class Choice(StrEnum):
    WAIT = "wait"
    TAKE = "take"
    PAUSE = "pause"


def slot(name: str, every_s: float, now: float) -> float:
    """The agent's first moment after `now`."""
    phase_s = zlib.crc32(name.encode()) / 2**32 * every_s
    turns = (now - phase_s) // every_s + 1
    due = phase_s + turns * every_s
    return due if due > now else due + every_s


def followed(course: Course, sight: Sight, now: float) -> Course:
    """The agent, its ladder or its spec changed. What it wrote last before its end is worth one more look."""
    if sight.every_s is None:
        return Course(running=sight.running, failures=course.failures)
    if sight.running:
        latest = slot(sight.name, sight.every_s, now)
        kept = course.due_mono if course.running else None
        if kept is None or (kept > latest and not course.failures):
            return replace(course, running=True, due_mono=latest)
        return replace(course, running=True)
    if course.running is False:
        return course
    return replace(course, running=False, due_mono=now + limits.SNAPSHOT_AFTER_END_S)


def choose(course: Course, pause: str, now: float) -> Choice:
    """What to do now. `pause`: why none is made by the clock at present; "" when nothing speaks against it."""
    if course.due_mono is None or now < course.due_mono:
        return Choice.WAIT
    return Choice.PAUSE if pause else Choice.TAKE


def paused(course: Course, now: float) -> Course:
    """It was due and could not be: looked at again soon."""
    return replace(course, due_mono=now + limits.SNAPSHOT_PAUSED_LOOK_S)


def ended(course: Course, sight: Sight, now: float, *, good: bool, was_running: bool) -> Course:
    """A snapshot ended, or found nothing to keep. `was_running`: the agent, when it began."""
    if not good:
        failures = course.failures + 1
        due = None if sight.every_s is None else now + max(retry_s(failures), min(sight.every_s, 1.0))
        return replace(course, running=sight.running, failures=failures, due_mono=due)
    if sight.every_s is None:
        return Course(running=sight.running)
    if sight.running:
        return Course(running=True, due_mono=slot(sight.name, sight.every_s, now))
    again = now + limits.SNAPSHOT_AFTER_END_S if was_running else None
    return Course(running=False, due_mono=again)


def retry_s(failures: int) -> float:
    """The pause after so many failures in a row."""
    return float(min(limits.SNAPSHOT_RETRY_FIRST_S * 2.0 ** min(failures - 1, 20), limits.SNAPSHOT_RETRY_MAX_S))


def proven(seen: Iterable[tuple[float, str]], good_since: float, until: float) -> str:
    """The newest snapshot that the agent was seen to be well after; "": none.

    `seen`: when the state was found to be that of a snapshot (just made, or nothing had changed since), rising.
    `good_since`: since when the agent is well without a break; `until`: later ones have not proven themselves yet.
    """
    fitting = [snapshot for at, snapshot in seen if good_since <= at <= until]
    return fitting[-1] if fitting else ""


def pause(stalled: Collection[str], *, disk_full: bool, where: str) -> str:
    """Why no snapshot is made by the clock, one clause; "": nothing speaks against it. `stalled`: what tasks wait for.

    A lack of CPU is no reason: those snapshots come behind everybody who wants to run.
    """
    if disk_full:
        return f"the disk of {where} is full"
    short = [name for name in ("memory", "io") if name in stalled]
    if short:
        words = {"memory": "memory is short", "io": "the disks are overloaded"}
        return " and ".join(words[name] for name in short)
    return ""
