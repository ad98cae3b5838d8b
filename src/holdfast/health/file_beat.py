"""Judges a heartbeat file: a file that a living loop touches or rewrites. Pure.

Invariants: only a change that we saw, or one that the file's time puts into this instance's life, counts as a beat, so
a file left by an earlier instance kills nobody; its age is the time since we saw it change, on our clock, so that
jumps of the wall clock and times in the future do no harm; while a beat declares the agent busy, no time counts.
Called by keeper/watching/file_beats.py and the simulation.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from holdfast.health.hearing import Hearing, hear, seconds
from holdfast.health.model import Judgement
from holdfast.spec.model import FileBeat

LOOKS_PER_AGE = 4  # a file is looked at so often within its largest age
LOOK_MIN_S = 1.0
LOOK_MAX_S = 15.0
GAP_LOOKS = 3.0  # more than so many looks missed: we were away

BORN_SLACK_S = 0.05  # a birth is noted a little after it, and files are stamped by a coarser clock
APPEARED_SLACK_S = 5.0  # what was not there when this instance began needs no such care


class Look(Struct, frozen=True, kw_only=True):
    """What one stat said. `stamp`: time of change in ns, size, inode; None: no such file, or `blocked` says why."""

    stamp: tuple[int, int, int] | None = None
    blocked: str = ""  # "" or why it cannot be looked at: permission, a link, a file system that does not answer
    age_s: float = 0.0  # of the instance
    at: float = 0.0  # wall clock now
    spawned_at: float = 0.0  # wall clock when the instance began; 0: unknown
    able: bool = True  # neither we nor the machine were starved since the last look
    excused: bool = False  # it said that it is busy for longer than this


class FileState(Struct, frozen=True, kw_only=True):
    """Of one instance; a new instance starts with a new one."""

    hearing: Hearing = Hearing()
    stamp: tuple[int, int, int] | None = None


def interval_s(rule: FileBeat) -> float:
    """Seconds between looks."""
    return min(LOOK_MAX_S, max(LOOK_MIN_S, rule.max_age_s / LOOKS_PER_AGE))


def judge(
    rule: FileBeat, start_period_s: float, state: FileState, look: Look, now_mono: float
) -> tuple[FileState, Judgement, str]:
    """The state after one look, and what it means."""
    first = state.hearing.looked_mono is None
    sign = look.stamp is not None and (_of_this_life(look) if first else look.stamp != state.stamp)
    if sign and not first and state.stamp is None and not state.hearing.ever:
        sign = _fresh(look)  # it appeared: written now, or an old one that was moved or mounted here
    able = look.able and not look.blocked
    gap_s = GAP_LOOKS * interval_s(rule)
    if first and sign and _is_old(rule, look):
        silent = hear(state.hearing, now_mono, sign=False, able=able, gap_s=gap_s, excused=look.excused)
        hearing = replace(silent, ever=True)
    else:
        hearing = hear(state.hearing, now_mono, sign=sign, able=able, gap_s=gap_s, excused=look.excused)
    if first and sign and look.stamp is not None and look.stamp[0] / 1e9 < look.spawned_at:
        # Its own first touch, or the last one of the instance before: it has the time of a start on top.
        hearing = replace(hearing, silent_s=-max(start_period_s, rule.max_age_s))
    known = FileState(hearing=hearing, stamp=look.stamp if look.stamp is not None else state.stamp)
    judgement, detail = _judged(rule, start_period_s, known, look)
    return known, judgement, detail


def _judged(rule: FileBeat, start_period_s: float, state: FileState, look: Look) -> tuple[Judgement, str]:
    hearing = state.hearing
    starting = look.age_s <= max(start_period_s, rule.max_age_s)
    if look.blocked:
        word = Judgement.UNKNOWN if starting else Judgement.DEGRADED
        return word, f"{rule.path} cannot be looked at: {look.blocked}"
    if not hearing.ever:
        if starting:
            return Judgement.UNKNOWN, "not written yet"
        missing = f"{rule.path} does not exist" if look.stamp is None else f"{rule.path} was never touched by this run"
        return (Judgement.DEGRADED, missing) if hearing.silent_s > 0.0 else (Judgement.UNKNOWN, missing)
    if hearing.silent_s > rule.max_age_s:
        late = f"{rule.path} not touched for {seconds(hearing.silent_s)} (at most {seconds(rule.max_age_s)})"
        if not look.able:
            return Judgement.UNKNOWN, f"{late}, but the machine is starved"
        return Judgement.FAILING, late if look.stamp is not None else f"{rule.path} is gone, and {late}"
    if hearing.heard:
        return Judgement.OK, ""
    return Judgement.UNKNOWN, "it said that it is busy" if look.excused else "not looked at for a while"


def _of_this_life(look: Look, slack_s: float = BORN_SLACK_S) -> bool:
    """Whether the file's own time lies between the start of the instance and now."""
    born = look.spawned_at - slack_s
    return look.stamp is not None and look.spawned_at > 0.0 and born <= look.stamp[0] / 1e9 <= look.at + 1.0


def _is_old(rule: FileBeat, look: Look) -> bool:
    """Written in this life, but before we looked: it proves a beat once, not one now."""
    return look.stamp is not None and look.at - look.stamp[0] / 1e9 > rule.max_age_s


def _fresh(look: Look) -> bool:
    """As `_of_this_life`; where the wall clock cannot tell, what appears before our eyes is new."""
    return _of_this_life(look, APPEARED_SLACK_S) or look.spawned_at == 0.0 or look.at < look.spawned_at
