"""Judges beats that come by HTTP, in the ways of healthchecks.io and Uptime Kuma. Pure.

Invariants: lateness is enforced from the first success of the instance on, and never counted while our door was shut,
the machine was starved, or a beat declares the agent busy or idle; `start` postpones the deadline once for each
success, so that a job that starts again and again without ever ending well is found. Called by
keeper/watching/pushes.py and the simulation.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from holdfast.health.hearing import Hearing, hear, seconds
from holdfast.health.model import Judgement
from holdfast.spec.model import PushBeat

LOOK_MAX_S = 15.0
GAP_LOOKS = 3.0
DETAIL_MAX_CHARS = 200


class Ping(Struct, frozen=True, kw_only=True):
    """One push that came in. `kind` log says nothing about health. `detail` is one printable clause."""

    kind: Literal["success", "start", "fail", "log"]
    detail: str = ""


class PushState(Struct, frozen=True, kw_only=True):
    """Of one instance. `failed`: why the last report was a failure, "" when it was not."""

    hearing: Hearing = Hearing()
    failed: str = ""
    ran_s: float | None = None  # audible time since the run under way began; None: none is under way
    postponed: bool = False  # a start already postponed the deadline since the last success
    succeeded: bool = False


def interval_s(rule: PushBeat) -> float:
    """Seconds between looks at the deadline."""
    return min(LOOK_MAX_S, max(1.0, (rule.every_s + rule.grace_s) / 4))


def judge(
    rule: PushBeat, state: PushState, ping: Ping | None, now_mono: float, *, able: bool = True, excused: bool = False
) -> tuple[PushState, Judgement, str]:
    """The state after a push, or after a look at the clock (`ping` None), and what it means. `excused`: it said that
    it is busy or has nothing to do."""
    sign = ping is not None and (ping.kind == "success" or (ping.kind == "start" and not state.postponed))
    before = state.hearing.looked_mono
    gap_s = GAP_LOOKS * interval_s(rule)
    hearing = hear(state.hearing, now_mono, sign=sign, able=able, gap_s=gap_s, excused=excused)
    away = before is None or now_mono - before > gap_s
    known = replace(state, hearing=hearing)
    if state.ran_s is not None and before is not None and not away and able:
        known = replace(known, ran_s=state.ran_s + max(0.0, now_mono - before))
    if ping is not None and ping.kind == "success":
        known = PushState(hearing=hearing, succeeded=True)
    elif ping is not None and ping.kind == "start":
        known = replace(known, ran_s=0.0, postponed=True)
    elif ping is not None and ping.kind == "fail":
        said = ping.detail[:DETAIL_MAX_CHARS]
        known = replace(known, ran_s=None, failed=said or "it reported a failure")
    judgement, detail = _judged(rule, known, able)
    return known, judgement, detail


def _judged(rule: PushBeat, state: PushState, able: bool) -> tuple[Judgement, str]:
    if state.failed:
        return Judgement.FAILING, state.failed
    silent_s = state.hearing.silent_s
    if state.succeeded and silent_s > rule.every_s + rule.grace_s:
        late = f"no success pushed for {seconds(silent_s)} (due every {seconds(rule.every_s)})"
        return (Judgement.FAILING, late) if able else (Judgement.UNKNOWN, f"{late}, but the machine is starved")
    if state.ran_s is not None and state.ran_s > rule.grace_s:
        return Judgement.DEGRADED, f"a run has not ended for more than {seconds(rule.grace_s)}"
    if not state.succeeded:
        return Judgement.UNKNOWN, "no success pushed yet"
    return (Judgement.OK, "") if state.hearing.heard else (Judgement.UNKNOWN, "nothing pushed since we listen again")
