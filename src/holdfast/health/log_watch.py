"""Judges what an agent prints: silence, and lines that mean something. Pure.

Invariants: silence is enforced from the first line of the instance on and never counted while we were away, the
machine was starved, or a beat declares the agent busy or idle; a pattern's judgement stands for `within_s` after the
last line that made it; Holdfast's own notices are not lines of the agent (the shell leaves them out). Called by
keeper/watching/log_lines.py and the simulation.
"""

from __future__ import annotations

from msgspec import Struct

from holdfast.health.hearing import Hearing, hear, seconds
from holdfast.health.model import Judgement
from holdfast.spec.model import LogPattern, LogWatch

LOOK_S = 2.0  # how often new lines are read for patterns
LOOK_MAX_S = 15.0  # and looked for when only silence counts
GAP_LOOKS = 3.0
HITS_KEPT = 1_000  # of one pattern; more in its window mean the same
QUOTED_MAX_CHARS = 160


class Heard(Struct, frozen=True, kw_only=True):
    """What was printed since the last look. `hits`: for each pattern how many lines matched; `quotes`: the last one."""

    lines: bool = False  # at least one line of the agent's own
    hits: tuple[int, ...] = ()
    quotes: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()  # patterns that are not looked for any more, with the reason
    behind: str = ""  # what was not read, one clause
    able: bool = True  # neither we nor the machine were starved since the last look
    excused: bool = False  # it said that it is busy or has nothing to do


class LogState(Struct, frozen=True, kw_only=True):
    """Of one instance. `hits`: per pattern the times of matches, `quotes` the last matching line."""

    hearing: Hearing = Hearing()
    hits: tuple[tuple[float, ...], ...] = ()
    quotes: tuple[str, ...] = ()


def interval_s(rule: LogWatch) -> float:
    """Seconds between looks."""
    if rule.patterns or rule.silence_s is None:
        return LOOK_S
    return min(LOOK_MAX_S, max(1.0, rule.silence_s / 4))


def judge(
    rule: LogWatch, start_period_s: float, state: LogState, heard: Heard, now_mono: float
) -> tuple[LogState, Judgement, str]:
    """The state after one look, and what it means."""
    gap_s = GAP_LOOKS * interval_s(rule)
    hearing = hear(state.hearing, now_mono, sign=heard.lines, able=heard.able, gap_s=gap_s, excused=heard.excused)
    hits: list[tuple[float, ...]] = []
    quotes: list[str] = []
    for number, pattern in enumerate(rule.patterns):
        held = state.hits[number] if number < len(state.hits) else ()
        new = heard.hits[number] if number < len(heard.hits) else 0
        kept = [at for at in held if now_mono - at < pattern.within_s] + [now_mono] * min(new, HITS_KEPT)
        hits.append(tuple(kept[-HITS_KEPT:]))
        quote = heard.quotes[number] if new and number < len(heard.quotes) else ""
        quotes.append(quote[:QUOTED_MAX_CHARS] or (state.quotes[number] if number < len(state.quotes) else ""))
    known = LogState(hearing=hearing, hits=tuple(hits), quotes=tuple(quotes))
    judgement, detail = _judged(rule, start_period_s, known, heard)
    return known, judgement, detail


def _judged(rule: LogWatch, start_period_s: float, state: LogState, heard: Heard) -> tuple[Judgement, str]:
    reached = [
        number for number, one in enumerate(rule.patterns) if len(state.hits[number]) >= min(one.count, HITS_KEPT)
    ]
    failing = [number for number in reached if rule.patterns[number].then == "failing"]
    if failing:
        return Judgement.FAILING, _told(rule.patterns[failing[0]], state, failing[0])
    said: list[str] = [_told(rule.patterns[number], state, number) for number in reached]
    if rule.silence_s is not None:
        late = f"no line for {seconds(state.hearing.silent_s)} (at most {seconds(rule.silence_s)})"
        if state.hearing.silent_s > rule.silence_s and state.hearing.ever:
            if not heard.able:
                return Judgement.UNKNOWN, f"{late}, but the machine is starved"
            return Judgement.FAILING, late
        if state.hearing.silent_s > max(rule.silence_s, start_period_s):
            said.append("has not printed a line since it is watched (from just after its start on)")
    said += heard.disabled
    if heard.behind:
        said.append(heard.behind)
    if said:
        return Judgement.DEGRADED, "; ".join(said)
    if rule.silence_s is not None and not state.hearing.heard:
        return Judgement.UNKNOWN, "it said that it is busy or idle" if heard.excused else "no line heard yet"
    return Judgement.OK, ""


def _told(pattern: LogPattern, state: LogState, number: int) -> str:
    count, quote = len(state.hits[number]), state.quotes[number]
    times = f"{count} times in {seconds(pattern.within_s)}" if pattern.count > 1 else "printed"
    return f"/{pattern.pattern}/ {times}" + (f": {quote}" if quote else "")
