"""`holdfast up`: make the fleet what holdfast.yaml declares, starting Holdfast where it does not run yet.

A second `up` on the same home talks to the first: the file is the fleet's new declaration. Nothing is started or
changed when the file has a mistake.
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
    from holdfast.spec.model import FleetSpec

UP_MAX_S = 120.0  # OpenClaw's slowest measured start fits several times


@click.command(
    cls=Command,
    examples=[
        "holdfast up                              start, show the live table, stop all at Ctrl-C",
        "holdfast up -d --wait --timeout 60       start in the background, wait until healthy (else exit code 3)",
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
@pass_session
def up(session: Session, file: str | None, detach: bool, wait: bool, timeout_s: float) -> None:
    """Start the fleet, or bring a running one to what the file says now."""
    from holdfast.cli import starting
    from holdfast.cli.watching import interruptible, wait_until_healthy

    fleet = _declared(session, file)
    session.home.prepare()
    starting.enter_delegated_scope(session, sys.argv[1:])
    client = session.client()
    with interruptible():
        started = starting.start_holdfast(session, client, fleet.last_resort if fleet else None, timeout_s)
        try:
            change = _declare(client, fleet)
        except HoldfastError:
            if started:  # nothing of this home ran before: leave it as it was
                _stop_again(session)
            raise
        _tell(session, change, started)
        if wait:
            wait_until_healthy(session, client, _names(fleet), timeout_s)
            session.say("all agents are healthy")
            return
        if not detach:
            _stay(session, client, started)


def _declared(session: Session, file: str | None) -> FleetSpec | None:
    """The fleet of the file; None: what this home ran before. Raises SPEC_NOT_FOUND and the spec's own errors."""
    from holdfast.cli.reading import SPEC_FILE_NAME
    from holdfast.recipes import read

    if file is not None or Path(SPEC_FILE_NAME).exists():
        loaded = read(Path(file if file is not None else SPEC_FILE_NAME))
        for warning in loaded.warnings:
            session.hint(f"warning: {warning.text}")
        return loaded.fleet
    if session.home.database.exists() or any(session.home.ledger.glob("*")):
        return None
    raise HoldfastError(errors.SPEC_NOT_FOUND, file=Path(SPEC_FILE_NAME).absolute())


def _names(fleet: FleetSpec | None) -> set[str] | None:
    return None if fleet is None else {agent.name for agent in fleet.agents}


def _declare(client: KeeperClient, fleet: FleetSpec | None) -> dict[str, Any]:
    if fleet is None:
        return {}
    import msgspec

    answer = client.put("/v1/fleet", msgspec.json.encode(fleet))
    return answer if isinstance(answer, dict) else {}


def _tell(session: Session, change: dict[str, Any], started: bool) -> None:
    """What this `up` changed, in one line."""
    kinds = ("added", "changed", "removed", "unchanged")
    if session.as_json:
        session.answer(
            {"home": str(session.home.path), "started": started, **{k: list(change.get(k, [])) for k in kinds}}
        )
        return
    parts = [f"{kind} {', '.join(change[kind])}" for kind in kinds[:3] if change.get(kind)]
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
