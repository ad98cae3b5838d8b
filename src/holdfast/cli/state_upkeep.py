"""`holdfast state verify|gc|pin|rm|key`: are the versions sound, what may go, what must stay, what a bucket needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from holdfast import errors
from holdfast.cli.selecting import Choice, chosen, selector_option
from holdfast.cli.session import Command, Session, complete_agent, complete_snapshot, pass_session
from holdfast.cli.snapshots import LIST_MAX_S
from holdfast.errors import HoldfastError


def _names(session: Session, agents: Sequence[str], selector: str | None) -> list[str]:
    """Named agents as they are (a removed one has versions too), or those with the labels."""
    if agents and not selector:
        return list(dict.fromkeys(agents))
    if not (agents or selector):
        raise click.UsageError("name agents, or choose them by --selector LABELS")
    return [str(row["name"]) for row in chosen(session.client(), Choice(tuple(agents), selector))]


def _keeping(session: Session) -> list[str]:
    """All agents with snapshots."""
    client = session.client()
    every = [str(row["name"]) for row in chosen(client, Choice(everybody=True))]
    found = [name for name in every if client.look(f"/v1/agents/{name}/snapshots", {}, LIST_MAX_S)["snapshots"]]
    if not found and not session.as_json:
        click.echo("no agent has snapshots yet")
    return found


@click.command(
    "verify",
    cls=Command,
    examples=["holdfast state verify", "holdfast state verify assistant", "holdfast state verify assistant --all"],
)
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@selector_option
@click.option("--all", "everything", is_flag=True, help="Read every block of every snapshot; takes its time.")
@pass_session
def verify_command(session: Session, agents: tuple[str, ...], selector: str | None, everything: bool) -> int:
    """Check that snapshots can be restored. Exit code 1 when one cannot be restored whole, and which.

    Without names: every agent that has snapshots. Holdfast does this by itself: the newest snapshot hourly, a sample
    daily, a whole restore into a scratch directory weekly.
    """
    from holdfast.cli.state_progress import follow
    from holdfast.cli.state_view import checked_lines

    bad = 0
    for name in _names(session, agents, selector) if agents or selector else _keeping(session):
        path = f"/v1/agents/{name}/state/verify"
        found = follow(session, "POST", path, {"all": everything}, f"checking {name}")
        faults = found.get("faults") or []
        bad += bool(faults) or (found.get("restorable") or 0) < (found.get("snapshots") or 0)
        if session.as_json:
            session.answer({"agent": name, **found})
        else:
            click.echo("\n".join(checked_lines(name, found)))
            if faults:
                session.hint(f"next: see `holdfast explain {errors.STATE_DAMAGED.code}`")
    return 1 if bad else 0


@click.command("gc", cls=Command, examples=["holdfast state gc assistant --dry-run", "holdfast state gc -l team=x"])
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@selector_option
@click.option("--dry-run", "dry_run", is_flag=True, help="Only say what would be freed.")
@pass_session
def gc_command(session: Session, agents: tuple[str, ...], selector: str | None, dry_run: bool) -> None:
    """Free what no snapshot needs any more. Holdfast does this by itself.

    Nothing goes at once: what is not needed is condemned first, and deleted by a later run when a day has passed and it
    is still not needed. It refuses when any manifest cannot be read.
    """
    from holdfast.cli.state_progress import follow
    from holdfast.cli.state_view import collected_lines

    for name in _names(session, agents, selector):
        path = f"/v1/agents/{name}/state/gc"
        found = follow(session, "POST", path, {"dry_run": dry_run}, f"collecting in {name}")
        if session.as_json:
            session.answer({"agent": name, **found})
        else:
            click.echo("\n".join(collected_lines(name, found)))


@click.command(
    "rm", cls=Command, examples=["holdfast state rm assistant 3f2a9c01b2d4", "holdfast undelete assistant 3f2a9c01b2d4"]
)
@click.argument("agent", shell_complete=complete_agent)
@click.argument("snapshots", nargs=-1, required=True, metavar="SNAPSHOT...")
@pass_session
def rm_command(session: Session, agent: str, snapshots: tuple[str, ...]) -> None:
    """Delete snapshots, named by their ids. They can be had back for a week with `holdfast undelete AGENT SNAPSHOT`."""
    from holdfast.cli.render import clock
    from holdfast.cli.state_view import short

    for text in snapshots:
        found = session.client().delete(f"/v1/agents/{agent}/snapshots/{snapshot_id(text)}")
        if session.as_json:
            session.answer({"agent": agent, **found})
            continue
        until = f" until {clock(found['until'])}" if found.get("until") else ""
        click.echo(f"{agent}: snapshot {short(found.get('id'))} deleted; it can be had back{until}:")
        click.echo(f"  holdfast undelete {agent} {short(found.get('id'))}")


def snapshot_id(text: str) -> str:
    """What is deleted is named by its id alone: a time could mean another one than was thought of."""
    shown = text.strip().lower()
    if not shown or len(shown) > 32 or any(char not in "0123456789abcdef" for char in shown):
        raise click.UsageError(f"{text!r} is no snapshot's id; `holdfast snapshots` lists them")
    return shown


@click.command(
    "pin",
    cls=Command,
    examples=[
        "holdfast state pin assistant 3f2a9c01 --why before-launch",
        "holdfast state pin assistant 3f2a9c01 --off",
    ],
)
@click.argument("agent", shell_complete=complete_agent)
@click.argument("snapshot", shell_complete=complete_snapshot)
@click.option("--why", default="kept", show_default=True, metavar="WORD", help="Letters, digits and hyphens.")
@click.option("--off", is_flag=True, help="Take that pin off again.")
@pass_session
def pin_command(session: Session, agent: str, snapshot: str, why: str, off: bool) -> None:
    """Keep a snapshot for good: neither age nor the disk budget takes it."""
    from holdfast.cli.state_view import short

    body = {"why": why, "pinned": not off}
    found: dict[str, Any] = session.client().post(f"/v1/agents/{agent}/snapshots/{snapshot_id(snapshot)}/pin", body)
    if session.as_json:
        session.answer({"agent": agent, **found})
        return
    pins = ", ".join(found.get("pins") or ())
    click.echo(f"{agent}: snapshot {short(found.get('id'))} is {f'kept: {pins}' if pins else 'no longer pinned'}")


@click.command("key", cls=Command, examples=["holdfast state key", "holdfast state key > holdfast-recovery.key"])
@pass_session
def key_command(session: Session) -> None:
    """Print this Holdfast's recovery key. Keep it elsewhere: without it nobody reads your second place.

    Snapshots are encrypted before they leave this machine. The key lies in HOME/state/recovery.key, and is what another
    machine needs to read the second place when this one is lost.
    """
    import os
    import sys

    from holdfast.state.store import keys

    directory = session.home.path / "state"
    try:
        if os.stat(session.home.path).st_uid == os.geteuid():
            key = keys.recovery_key(directory).hex()
        else:  # one that we made now would not be its own
            key = keys.read_recovery(directory / keys.FILE_NAME).hex()
    except OSError as error:
        raise HoldfastError(errors.HOME_UNUSABLE, home=session.home.path, reason=error.strerror or error) from error
    if session.as_json:
        session.answer({"key": key, "path": str(directory / keys.FILE_NAME)})
        return
    click.echo(key)
    if sys.stdout.isatty():
        session.hint("Write it down or put it into your password store, not onto this machine alone.")
