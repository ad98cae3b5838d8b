"""`holdfast up`: make the fleet what holdfast.yaml declares, starting Holdfast where it does not run yet.

A second `up` on the same home talks to the first: the file is the fleet's new declaration. Nothing is started or
changed when the file has a mistake. What will change is shown first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, pass_session
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.cli.client import KeeperClient
    from holdfast.recipes import Loaded
    from holdfast.spec.model import FleetSpec

UP_MAX_S = 120.0  # OpenClaw's slowest measured start fits several times


@click.command(
    cls=Command,
    examples=[
        "holdfast up                              start, show the live table, stop all at Ctrl-C",
        "holdfast up -d --wait --timeout 60       start in the background, wait until healthy (else exit code 3)",
        "holdfast up --dry-run                    show what would change, and change nothing",
        "holdfast --home /srv/fleet up -f fleet.yaml -d",
    ],
)
@click.option(
    "-f", "--file", "file", metavar="FILE", help="What to run; ./holdfast.yaml, else what this home ran before."
)
@click.option("-d", "--detach", is_flag=True, help="Leave everything running and return.")
@click.option("--wait", is_flag=True, help="Return when every agent is healthy (exit code 3 otherwise); implies -d.")
@click.option(
    "--timeout", "timeout_s", type=float, default=UP_MAX_S, show_default=True, metavar="S", help="For the start."
)
@click.option("--dry-run", "dry", is_flag=True, help="Show what would change, and change nothing.")
@pass_session
def up(session: Session, file: str | None, detach: bool, wait: bool, timeout_s: float, dry: bool) -> None:
    """Start the fleet, or bring a running one to what the file says now.

    Shows first what that changes: + new, ~ changed (and whether the agent restarts for it), - taken out. Only what
    changed is touched; what is taken out is stopped and keeps its state.
    """
    from holdfast.cli import starting
    from holdfast.cli.watching import interruptible, wait_until_healthy

    loaded = _declared(session, file)
    fleet = loaded.fleet if loaded else None
    if dry:
        _dry_run(session, loaded)
        return
    session.home.prepare()
    starting.enter_delegated_scope(session, sys.argv[1:])
    client = session.client()
    with interruptible():
        started = starting.start_holdfast(session, client, fleet.last_resort if fleet else None, timeout_s)
        try:
            change = _declare(session, client, fleet)
        except HoldfastError:
            if started:  # nothing of this home ran before: leave it as it was
                _stop_again(session)
            raise
        _tell(session, change, started, loaded)
        if wait:
            wait_until_healthy(session, client, _names(fleet), timeout_s)
            session.say("all agents are healthy")
            return
        if not detach:
            _stay(session, client, started)


def _declared(session: Session, file: str | None) -> Loaded | None:
    """The file as it was read; None: what this home ran before. Raises SPEC_NOT_FOUND and the spec's own errors."""
    from holdfast.cli.reading import SPEC_FILE_NAME
    from holdfast.recipes import read

    if file is not None or Path(SPEC_FILE_NAME).exists():
        loaded = read(Path(file if file is not None else SPEC_FILE_NAME))
        for warning in loaded.warnings:
            session.hint(f"warning: {warning.text}")
        if len(loaded.files) > 1:
            session.hint(f"read {', '.join(loaded.files)}")
        return loaded
    if session.home.database.exists() or any(session.home.ledger.glob("*")):
        return None
    raise HoldfastError(errors.SPEC_NOT_FOUND, file=Path(SPEC_FILE_NAME).absolute())


def _names(fleet: FleetSpec | None) -> set[str] | None:
    return None if fleet is None else {agent.name for agent in fleet.agents}


def _dry_run(session: Session, loaded: Loaded | None) -> None:
    """Nothing is started, written or changed."""
    from holdfast.cli.plan import without_keeper

    client = session.client()
    runs = client.is_up()
    if loaded is None:
        plan: dict[str, Any] = {}
    elif runs:
        plan = _plan(client, loaded.fleet)
    else:
        plan = without_keeper(session.home, loaded.fleet)
    if session.as_json:
        session.answer({**_answer(session, plan, False, loaded), "dry_run": True, "running": runs})
        return
    _show_plan(session, plan)
    if not runs:
        session.say(f"Holdfast does not run in {session.home.path}: `holdfast up` starts everything")
    session.say("nothing was changed" if plan.get("details") or plan.get("fleet") else "nothing would change")


def _plan(client: KeeperClient, fleet: FleetSpec) -> dict[str, Any]:
    import msgspec

    answer = client.put("/v1/fleet", msgspec.json.encode(fleet), dry_run=1)
    return answer if isinstance(answer, dict) else {}


def _show_plan(session: Session, plan: dict[str, Any]) -> None:
    from holdfast.cli.plan import plan_lines

    for line in plan_lines(plan):
        session.say(line)


def _declare(session: Session, client: KeeperClient, fleet: FleetSpec | None) -> dict[str, Any]:
    """Show the plan, then carry it out; the plan comes back with what was done."""
    if fleet is None:
        return {}
    import msgspec

    plan = _plan(client, fleet)
    _show_plan(session, plan)
    answer = client.put("/v1/fleet", msgspec.json.encode(fleet))
    return {**plan, **answer} if isinstance(answer, dict) else {}


def _answer(session: Session, change: dict[str, Any], started: bool, loaded: Loaded | None) -> dict[str, Any]:
    kinds = ("added", "changed", "removed", "unchanged", "details", "fleet")
    files = list(loaded.files) if loaded else []
    home = str(session.home.path)
    return {"home": home, "started": started, **{kind: list(change.get(kind, [])) for kind in kinds}, "files": files}


def _tell(session: Session, change: dict[str, Any], started: bool, loaded: Loaded | None) -> None:
    """What this `up` changed, in one line."""
    kinds = ("added", "changed", "removed")
    if session.as_json:
        session.answer(_answer(session, change, started, loaded))
        return
    parts = [f"{kind} {', '.join(change[kind])}" for kind in kinds if change.get(kind)]
    if change.get("unchanged"):
        parts.append(f"{len(change['unchanged'])} unchanged")
    first = f"Holdfast started in {session.home.path}" if started else f"Holdfast already runs in {session.home.path}"
    session.say("; ".join([first, *parts]))


def _stay(session: Session, client: KeeperClient, started: bool) -> None:
    """The foreground: show the fleet until Ctrl-C, then stop what this command started."""
    from holdfast.cli.watching import watch

    try:
        watch(session, client)
    except KeyboardInterrupt:
        if not started:
            session.hint("left running: it was started by another `up`; stop it with `holdfast down`")
            return
        session.hint("stopping everything; once more Ctrl-C leaves that to Holdfast")
        _stop_again(session)


def _stop_again(session: Session) -> None:
    from holdfast.cli.down import DOWN_MAX_S, bring_down

    bring_down(session, DOWN_MAX_S)
    session.hint("everything is stopped")
