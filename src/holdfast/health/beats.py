"""Judges sd_notify beats: what an instance said, when it is due to say more, and what its silence means. Pure.

Invariants: a beat counts only if its cycle advanced, if no cycle was ever sent (as for systemd), or while idleness is
declared; enforced from the first beat of an instance on; a declared busy time counts from its receipt and is never
longer than `busy_max_s` at a stretch; after a gap of ours it is unknown until the next beat and a whole new deadline
runs, throughout which silence is heard as silence; once its socket was lost nothing is due until the next beat; unknown
never heals. Durations only, so that no clock jump matters.
Called by keeper/watching/beats.py and the simulation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from holdfast.health.model import Judgement
from holdfast.limits import BEAT_GATHERED_S, BEATS_MISSED, DEGRADED_TEXT_MAX_CHARS
from holdfast.spec.model import Health

USEC_MAX = 10**15  # thirty years: more is no duration
CYCLE_MAX = 2**63
BEGUN_ANEW = 3  # rising numbers of a lower count in a row: the former one is over
DOUBTFUL_MAX = 6  # three counts that begin anew one after the other, each before it was taken for the one that counts


class Rules(NamedTuple):
    """What is due, in seconds. `beat_s` None: beats are taken in and shown, and none is due."""

    beat_s: float | None
    busy_max_s: float
    start_period_s: float
    stop_grace_s: float

    @property
    def patience_s(self) -> float:
        """From the last beat that counted to failing."""
        return BEATS_MISSED * (self.beat_s or 0.0) + BEAT_GATHERED_S


class Told(NamedTuple):
    """What was said between two flushes of init, understood. None: not said. `bad`: values that were ignored."""

    mono: float
    busy_mono: float
    cycle_mono: float = 0.0  # of the last cycle that was another one; 0: the same as `mono`
    beat: bool = False  # WATCHDOG=1
    trigger: bool = False
    ready: bool = False
    stopping: bool = False
    cycles: tuple[int, ...] = ()
    busy_s: float | None = None
    idle: bool | None = None
    degraded: str | None = None
    status: str | None = None
    tokens: int | None = None
    quality: float | None = None
    extend_s: float | None = None
    bad: int = 0


class Beats(Struct, frozen=True, kw_only=True):
    """What is known of one instance. All `*_mono` are seconds of the monotonic clock."""

    instance: int
    since_mono: float  # since when it is listened to: its start, or the end of our deafness
    begun: bool = False  # a beat was heard since then: the next is due
    due_from_mono: float = 0.0  # the last beat that counted, or the end of a gap of ours
    counted_mono: float | None = None  # the last beat that counted
    last_mono: float | None = None  # the last beat, whether it counted or not
    cycle: int | None = None  # the highest heard of the count that counts
    latest: int | None = None  # the one heard last
    risen: int = 0  # how often in a row a number not above the highest was above the one before it
    doubtful: int = 0  # changes that counted although they were not above the highest
    busy_since_mono: float | None = None  # first declaration of the present stretch
    busy_until_mono: float | None = None
    idle: bool = False
    idle_said: bool = False  # it told of idleness at some time
    idle_advances: int = 0  # cycles since idleness was declared
    ready: bool = False
    stopping_mono: float | None = None
    broken: bool = False  # WATCHDOG=trigger
    degraded: str = ""
    status: str = ""
    tokens: int | None = None
    quality: float | None = None
    bad: int = 0


def rules_of(health: Health, stop_grace_s: float, *, notify: bool) -> Rules:
    beat_s = health.beat_s if notify else None
    return Rules(beat_s, health.busy_max_s, health.start_period_s, stop_grace_s)


# --- understanding -----------------------------------------------------------------------------------------------
def read(
    fields: Mapping[str, str],
    mono: float,
    busy_mono: float = 0.0,
    cycles: Sequence[str] = (),
    cycle_mono: float = 0.0,
) -> Told:
    """Never an error: what cannot be understood is left out and counted."""
    bad = 0
    found: dict[str, object] = {}
    for key, value in fields.items():
        if key == "WATCHDOG":
            if value == "1":
                found["beat"] = True
            elif value == "trigger":
                found["trigger"] = True
            else:
                bad += 1
        elif key in ("READY", "STOPPING"):
            if value == "1":
                found[key.lower()] = True
            else:
                bad += value != "0"
        elif key == "STATUS":
            found["status"] = value
        elif key == "X_DEGRADED":
            found["degraded"] = value[:DEGRADED_TEXT_MAX_CHARS]
        elif key in _NUMBERS:
            name, number = _NUMBERS[key][0], _NUMBERS[key][1](value)
            if number is None:
                bad += 1
            else:
                found[name] = number
    numbers = [_whole(text) for text in (cycles or ([fields["X_CYCLE"]] if "X_CYCLE" in fields else []))]
    found["cycles"] = tuple(number for number in numbers if number is not None)
    bad += numbers.count(None)
    return Told(mono=mono, busy_mono=busy_mono or mono, cycle_mono=cycle_mono, bad=bad, **found)  # type: ignore[arg-type]


def _whole(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    number = int(text)
    return number if number < CYCLE_MAX else None


def _usec(text: str) -> float | None:
    number = _whole(text)
    return None if number is None or number > USEC_MAX else number / 1e6


def _flag(text: str) -> bool | None:
    return {"1": True, "0": False}.get(text)


def _share(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0.0 <= number <= 1.0 else None


_NUMBERS = {
    "X_BUSY_USEC": ("busy_s", _usec),
    "X_IDLE": ("idle", _flag),
    "X_TOKENS": ("tokens", _whole),
    "X_QUALITY": ("quality", _share),
    "EXTEND_TIMEOUT_USEC": ("extend_s", _usec),
}


# --- hearing -----------------------------------------------------------------------------------------------------
def hear(was: Beats, told: Told, rules: Rules) -> Beats:
    """Take in what was said. Order within one flush does not matter to a healthy agent: what excuses it wins."""
    advanced, cycle, latest, risen, doubtful = _advance(was, told.cycles)
    is_beat = told.beat or bool(told.cycles) or told.idle is True or told.busy_s is not None
    idle, idle_advances = was.idle, was.idle_advances + advanced
    if told.idle is not None:
        idle, idle_advances = told.idle, 0
    elif idle and idle_advances > 1:
        idle = False  # it works again; the first advance may be of the cycle that ended in idleness
    plain = cycle is None and told.beat  # an agent that knows nothing of cycles, as for systemd
    resting = (idle or was.idle) and is_beat  # also the beat with which it ends, or that came just before
    counts = bool(advanced) or plain or resting
    first = is_beat and not was.begun
    at = told.mono  # of what counts: not of later beats that went on while its cycle stood
    if advanced and not first and not (idle and is_beat):
        at = told.cycle_mono or told.mono
    busy_since, busy_until = was.busy_since_mono, was.busy_until_mono
    if counts and told.busy_s is None and (busy_until is None or told.mono >= busy_until):
        busy_since = busy_until = None
    if told.busy_s is not None:
        busy_since, busy_until = _busy(was, told, rules, fresh=counts or first)
    stopping = was.stopping_mono
    if told.stopping and stopping is None:
        stopping = told.mono
    return replace(
        was,
        begun=was.begun or is_beat,
        due_from_mono=max(was.due_from_mono, at) if counts or first else was.due_from_mono,
        counted_mono=at if counts or first else was.counted_mono,
        last_mono=told.mono if is_beat else was.last_mono,
        cycle=cycle,
        latest=latest,
        risen=risen,
        doubtful=doubtful,
        busy_since_mono=busy_since,
        busy_until_mono=busy_until,
        idle=idle,
        idle_said=was.idle_said or told.idle is not None,
        idle_advances=idle_advances,
        ready=was.ready or told.ready,
        stopping_mono=stopping,
        broken=was.broken or told.trigger,
        degraded=was.degraded if told.degraded is None else told.degraded,
        status=was.status if told.status is None else told.status,
        tokens=was.tokens if told.tokens is None else told.tokens,
        quality=was.quality if told.quality is None else told.quality,
        bad=was.bad + told.bad,
    )


def _advance(was: Beats, heard: tuple[int, ...]) -> tuple[int, int | None, int | None, int, int]:
    """How often the cycle advanced, and what is known of it then: cycle, latest, risen, doubtful.

    A number not above the highest may be of a count that began anew in the same instance. It advances when it differs
    from the one before it, but only so often until a count rises for certain: above the highest, or a few numbers in a
    row. So counts may begin anew at any time, and two stuck loops that beat in turn with different numbers pass for
    one that works only for a few beats.
    """
    advanced, cycle, latest, risen, doubtful = 0, was.cycle, was.latest, was.risen, was.doubtful
    for number in heard:
        if cycle is None or number > cycle:
            cycle, risen, doubtful = number, 0, 0
            advanced += 1
        elif number != latest:
            risen = risen + 1 if latest is not None and number > latest else 1
            if risen >= BEGUN_ANEW:
                cycle, risen, doubtful = number, 0, 0
                advanced += 1
            elif doubtful < DOUBTFUL_MAX:
                doubtful += 1
                advanced += 1
        latest = number
    return advanced, cycle, latest, risen, doubtful


def _busy(was: Beats, told: Told, rules: Rules, *, fresh: bool) -> tuple[float | None, float | None]:
    """A declaration replaces the one before. Repeated ones without a beat that counts are one stretch, which is capped:
    a thread that goes on declaring its stuck loop busy is not believed for ever."""
    if not told.busy_s:
        return None, None
    since = was.busy_since_mono
    if fresh or since is None:
        since = told.busy_mono
    return since, min(told.busy_mono + told.busy_s, since + rules.busy_max_s)


def gap(was: Beats, now: float) -> Beats:
    """We, or the machine, could not hear for a while: a whole new deadline runs from now."""
    moved = replace(was, due_from_mono=max(was.due_from_mono, now), since_mono=max(was.since_mono, now))
    return moved if was.stopping_mono is None else replace(moved, stopping_mono=max(was.stopping_mono, now))


def deafened(was: Beats, now: float) -> Beats:
    """The socket was lost: who was connected to it cannot be heard any more. Nothing is due until the next beat."""
    return replace(gap(was, now), begun=False)


# --- judging -----------------------------------------------------------------------------------------------------
def due_mono(known: Beats, rules: Rules, *, beat_before: bool) -> float | None:
    """When silence next changes the judgement; None: it does not, whatever the time."""
    if rules.beat_s is None or known.broken:
        return None
    if known.stopping_mono is not None:
        return known.stopping_mono + max(rules.stop_grace_s, rules.patience_s)
    if not known.begun:
        return known.since_mono + rules.start_period_s + rules.patience_s if beat_before else None
    return max(known.due_from_mono, known.busy_until_mono or 0.0) + rules.patience_s


def judge(known: Beats, rules: Rules, now: float, *, beat_before: bool = False) -> tuple[Judgement, str]:
    """What stands now. `beat_before`: a former instance was heard to beat, or this one before the socket was lost."""
    if known.broken:
        return Judgement.FAILING, "it said of itself that it is broken (WATCHDOG=trigger)"
    due = due_mono(known, rules, beat_before=beat_before)
    late = due is not None and now >= due
    if known.stopping_mono is not None:
        ago = span(now - known.stopping_mono)
        if late:
            return Judgement.FAILING, f"it said {ago} ago that it stops, and still runs"
        return Judgement.UNKNOWN, f"it said {ago} ago that it stops"
    if late and known.begun:
        return Judgement.FAILING, _missed(known, rules, now)
    if known.degraded:
        return Judgement.DEGRADED, f'it says "{known.degraded}"'
    if late:
        return Judgement.DEGRADED, "no beat yet, though it beat before"
    if rules.beat_s is None:
        return Judgement.UNKNOWN, ""  # nothing is due: silence says nothing, and neither do beats
    if not known.begun:
        return Judgement.UNKNOWN, "no beat yet"
    if known.counted_mono is None or known.counted_mono < known.since_mono:
        return Judgement.UNKNOWN, "no beat since we listen again"
    return Judgement.OK, ""


def excuse(known: Beats, rules: Rules, now: float) -> str:
    """What it said that makes silence elsewhere no failure: "busy", "idle", or "". What was said last stands, also
    while we cannot hear it; idleness stands only while it goes on beating."""
    if known.busy_until_mono is not None and now < known.busy_until_mono:
        return "busy"
    due = due_mono(known, rules, beat_before=False)
    return "idle" if known.idle and rules.beat_s is not None and (due is None or now < due) else ""


def _missed(known: Beats, rules: Rules, now: float) -> str:
    beat_s = rules.beat_s or 0.0
    since = known.counted_mono if known.counted_mono is not None else known.due_from_mono
    every = f"due every {span(beat_s)}"
    beats_on = known.last_mono is not None and now - known.last_mono < rules.patience_s
    if known.cycle is None:
        return f"no beat for {span(now - since)} ({every})"
    if beats_on:
        return f"beats go on but its cycle stands at {known.cycle} for {span(now - since)} ({every})"
    return f"no beat that advanced for {span(now - since)} ({every}; cycle {known.cycle})"


def span(seconds: float) -> str:
    """As the deadline is thought of: "130 s", "1.5 s"."""
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s".replace(".0 s", " s")
