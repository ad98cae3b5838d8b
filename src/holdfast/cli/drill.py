"""`holdfast drill [AGENT]`: deliberate faults, and a scorecard of how they were caught and healed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from holdfast import __version__, errors
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.drills.faults import Fault
    from holdfast.drills.score import Scorecard
    from holdfast.drills.stage import Stage

HEADER = ("FAULT", "CAUGHT", "RESTORED", "VERDICT", "WHY")


def _complete_fault(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from holdfast.drills.faults import FAULTS

    return [name for name in FAULTS if name.startswith(incomplete)]


@click.command(
    "drill",
    cls=Command,
    examples=[
        "holdfast drill                              every fault, on an agent and a Holdfast made for it",
        "holdfast drill --fault kill --fault hang    only these",
        "holdfast drill assistant --yes              those that may be tried on a real agent",
        "holdfast drill --list                       what there is, and what is promised",
    ],
)
@click.argument("agent", required=False, shell_complete=complete_agent)
@click.option("--fault", "names", multiple=True, metavar="FAULT", shell_complete=_complete_fault, help="Only this one.")
@click.option("--yes", is_flag=True, help="Do not ask before hurting a real agent.")
@click.option("--list", "list_only", is_flag=True, help="Show the faults and their promises; do nothing.")
@pass_session
def drill(session: Session, agent: str | None, names: Sequence[str], yes: bool, list_only: bool) -> int:
    """Hurt an agent on purpose and measure how it is healed. Exit code 1 when a promise was not kept.

    Without AGENT a throw-away agent in a throw-away home is used: nothing of yours is touched. On a real agent only
    faults that lose no state are tried, one after the other, and it asks first. Those that damage its state have to be
    named: a snapshot is taken before, and restored afterwards. None removes a real agent or loses a real machine.

    A skipped fault proves nothing, and does not change the exit code; WHY says what was in the way.
    """
    faults = _chosen(names, agent)
    if list_only:
        return _list(session, faults)
    if agent is not None:
        _ask(session, agent, faults, yes)
    card = _run(session, agent, faults)
    return _show(session, card)


def _chosen(names: Sequence[str], agent: str | None) -> list[Fault]:
    from holdfast.drills.faults import FAULTS

    for name in names:
        if name not in FAULTS:
            import difflib

            near = difflib.get_close_matches(name, FAULTS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise HoldfastError(errors.USAGE, reason=f"there is no fault {name}{meant}", command="holdfast drill")
        if agent is not None and not FAULTS[name].real:
            reason = f"{name} needs an agent of its own: run it without AGENT"
            raise HoldfastError(errors.USAGE, reason=reason, command="holdfast drill")
    if names:
        return [fault for fault in FAULTS.values() if fault.name in names]
    return [fault for fault in FAULTS.values() if agent is None or (fault.real and not fault.state)]


def _list(session: Session, faults: list[Fault]) -> int:
    if session.as_json:
        import msgspec

        session.answer({"faults": [msgspec.to_builtins(fault) for fault in faults]})
        return 0
    from holdfast.cli.render import table, terminal_width

    rows = [
        (fault.name, f"{fault.caught_s:g}s", f"{fault.restored_s:g}s", "yes" if fault.real else "no", fault.summary)
        for fault in faults
    ]
    headers = ("FAULT", "CAUGHT IN", "RESTORED IN", "REAL AGENTS", "WHAT IT DOES")
    click.echo("\n".join(table(headers, rows, width=terminal_width())))
    return 0


def _ask(session: Session, agent: str, faults: list[Fault], yes: bool) -> None:
    if yes:
        return
    import sys

    if session.as_json or not sys.stdin.isatty():
        reason = f"it would hurt the real agent {agent}, and there is nobody to ask: say --yes"
        raise HoldfastError(errors.USAGE, reason=reason, command="holdfast drill")
    listed = ", ".join(fault.name for fault in faults)
    if any(fault.state for fault in faults):
        listed += "; a snapshot is taken first and restored at the end: what it does meanwhile is lost"
    click.confirm(f"{agent} and its Holdfast will be hurt by: {listed}. Go on?", abort=True, err=True)


def _run(session: Session, agent: str | None, faults: list[Fault]) -> Scorecard:
    import signal

    from holdfast.drills import run, score
    from holdfast.drills.score import Scorecard

    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _leave)  # what was made for the drill is taken away also then
    card = Scorecard(
        holdfast=__version__, at=time.time(), agent=agent or "", throw_away=agent is None, start_s=0.0, results=[]
    )
    for here in _together(faults):
        stage = _stage(session, agent, here)
        start_s = 0.0 if isinstance(stage, str) else stage.start_s()
        card.start_s = card.start_s or start_s
        try:
            for fault in here:
                session.hint(f"[{len(card.results) + 1}/{len(faults)}] {fault.name}: {fault.summary} …")
                if isinstance(stage, str):
                    result = score.skipped(fault, f"drill-{fault.name}", stage)
                else:
                    result = run.try_fault(stage, fault, start_s)
                card.results.append(result)
                session.hint(f"        {result.verdict}: {result.detail}")
        finally:
            if not isinstance(stage, str):
                stage.close()
    return card


def _together(faults: list[Fault]) -> list[list[Fault]]:
    """Those that share a stage; each that is about the node's memory has a node of its own."""
    shared = [fault for fault in faults if not fault.memory]
    return [here for here in (shared, *([fault] for fault in faults if fault.memory)) if here]


def _stage(session: Session, agent: str | None, faults: list[Fault]) -> Stage | str:
    """Where these faults are tried, or why they cannot be tried on this machine."""
    from holdfast.cli.client import KeeperClient
    from holdfast.drills.memory_stage import MemoryStage, unfit
    from holdfast.drills.stage import Stage, ThrowAwayStage

    if agent is not None:
        session.client().get(f"/v1/agents/{agent}")  # HF2001 or HF3001 in good time
        return Stage(session.home, session.client(), agent)
    if faults[0].memory and (why := unfit()):
        return why
    session.hint("making a throw-away home and agent …")
    make = MemoryStage if faults[0].memory else ThrowAwayStage
    return make(lambda home: KeeperClient(home, timeout_s=5.0), faults)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _show(session: Session, card: Scorecard) -> int:
    import msgspec

    from holdfast.cli.render import table, terminal_width
    from holdfast.drills import saved, score

    changes: list[str] = []
    path = ""
    try:
        written = saved.save(session.home.path, card)
        changes, path = score.compare(card, saved.last(session.home.path, card.agent, written)), str(written)
    except OSError as error:
        session.hint(f"the scorecard was not saved: {error.strerror} ({session.home.path})")
    if session.as_json:
        session.answer({**msgspec.to_builtins(card), "passed": card.passed, "changes": changes, "saved": path})
    else:
        click.echo("\n".join(table(HEADER, score.table(card), width=terminal_width())))
        click.echo(f"{score.tally(card.results)}; a normal start of the agent takes {card.start_s:.1f} s")
        if note := score.unproved(card.results):
            click.echo(note)
        for change in changes:
            click.echo(f"since the last run: {change}")
        if path:
            click.echo(f"saved in {path}")
    return 0 if card.passed else 1
