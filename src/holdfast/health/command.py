"""Judges what a command, or a recipe's probe of function, said of the agent. Pure.

Invariants: only answers count: a probe that could not be started, or was cut short because we or the machine were
starved, never fails anybody; failing needs `retries` answers in a row, until then the agent is shown as degraded.
Called by keeper/watching/commands.py and the simulation.
"""

from __future__ import annotations

from msgspec import Struct

from holdfast.health.hearing import seconds
from holdfast.health.model import Judgement
from holdfast.spec.model import CommandProbe

DETAIL_MAX_CHARS = 200
DEGRADED_CODE = 1


class Ran(Struct, frozen=True, kw_only=True):
    """How one run ended. Exactly one of `code`, `signal`, `timed_out`, `broken` and `skipped` tells it.

    `said`: the judgement that a probe of function printed; it replaces what the code means.
    """

    code: int | None = None
    signal: str = ""  # "SIGKILL"
    timed_out: bool = False
    broken: str = ""  # it could not be started, or its answer could not be understood
    skipped: str = ""  # the machine was starved, or we were late ourselves: no answer
    line: str = ""  # first line of what it printed, printable
    said: Judgement | None = None


class CommandState(Struct, frozen=True, kw_only=True):
    """Of one instance. `fails`: failing answers in a row; `broken`: runs in a row without an answer."""

    fails: int = 0
    broken: int = 0
    answered: bool = False


def judge(rule: CommandProbe, state: CommandState, ran: Ran) -> tuple[CommandState, Judgement, str]:
    """The state after one run, and what it means."""
    if ran.skipped:
        return CommandState(fails=state.fails, broken=state.broken), Judgement.UNKNOWN, f"not asked: {ran.skipped}"
    if ran.broken:
        times = state.broken + 1
        word = Judgement.DEGRADED if times >= rule.retries else Judgement.UNKNOWN
        return CommandState(broken=times), word, f"cannot be asked: {ran.broken}"[:DETAIL_MAX_CHARS]
    word, detail = _meant(rule, ran)
    if word is not Judgement.FAILING:
        return CommandState(answered=True), word, detail
    fails = state.fails + 1
    if fails < rule.retries:
        return CommandState(fails=fails, answered=True), Judgement.DEGRADED, f"{detail} ({fails} of {rule.retries})"
    return CommandState(fails=fails, answered=True), Judgement.FAILING, detail


def _meant(rule: CommandProbe, ran: Ran) -> tuple[Judgement, str]:
    line = ran.line[:DETAIL_MAX_CHARS]
    if ran.timed_out:
        return Judgement.FAILING, f"no answer in {seconds(rule.timeout_s)}"
    if ran.said is not None:
        return ran.said, line
    if ran.signal:
        return Judgement.FAILING, f"the probe was ended by {ran.signal}"
    if ran.code == 0:
        return Judgement.OK, ""
    if ran.code == DEGRADED_CODE:
        return Judgement.DEGRADED, line or "exit 1"
    return Judgement.FAILING, f"exit {ran.code}" + (f": {line}" if line else "")
