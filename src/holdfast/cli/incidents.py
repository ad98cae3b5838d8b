"""`holdfast incidents [list|show ID]`: what went wrong, how fast it was caught, how it ended."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli.session import Command, Group, Session, pass_session

HEADERS = ("ID", "AGENT", "OUTCOME", "CAUGHT", "RESTORED", "TIERS", "CAUSE")


@click.group(cls=Group, invoke_without_command=True, examples=["holdfast incidents", "holdfast incidents show 7"])
@click.pass_context
def incidents(context: click.Context) -> None:
    """List incidents, or show one with its post-mortem."""
    if context.invoked_subcommand is None:
        _list(context.ensure_object(Session))


@incidents.command("list", cls=Command, examples=["holdfast incidents list --json"])
@pass_session
def list_command(session: Session) -> None:
    """List all incidents, newest last."""
    _list(session)


@incidents.command("show", cls=Command, examples=["holdfast incidents show 7"])
@click.argument("incident")
@pass_session
def show_command(session: Session, incident: str) -> None:
    """Show one incident: cause, exit in words, timeline, last log lines, post-mortem file."""
    known = session.client().get(f"/v1/incidents/{incident}")
    if session.as_json:
        session.answer(known)
    else:
        click.echo("\n".join(incident_lines(known)))


def _list(session: Session) -> None:
    from holdfast.cli.render import duration, one_line, table, terminal_width

    known = session.client().get("/v1/incidents")
    if session.as_json:
        session.answer(known)
        return
    rows = [
        (
            str(row.get("id")),
            str(row.get("agent")),
            str(row.get("outcome")),
            duration(row.get("caught_s")),
            duration(row.get("restored_s")),
            ",".join(str(tier) for tier in row.get("tiers") or []) or "-",
            one_line(row.get("cause") or ""),
        )
        for row in known.get("incidents", [])
    ]
    click.echo("\n".join(table(HEADERS, rows, width=terminal_width())) if rows else "no incidents")


def incident_lines(known: dict[str, Any]) -> list[str]:
    from holdfast.cli.render import clock, duration, one_line

    tiers = ",".join(str(tier) for tier in known.get("tiers") or []) or "-"
    caught, restored = duration(known.get("caught_s")), duration(known.get("restored_s"))
    lines = [
        f"incident {known.get('id')}: {known.get('agent')}, {known.get('outcome')}",
        f"  cause: {one_line(known.get('cause') or 'unknown')}",
        f"  exit: {one_line(known.get('exit') or 'none')}",
        f"  caught after {caught}, restored after {restored}, tiers {tiers}",
        f"  post-mortem: {known.get('postmortem') or 'not written yet'}",
        "timeline:",
    ]
    for entry in known.get("timeline") or []:
        if isinstance(entry, dict):
            lines.append(f"  {clock(entry.get('at'))}  {one_line(entry.get('text') or entry.get('kind') or '')}")
        else:
            lines.append(f"  {one_line(entry)}")
    lines.append("last log lines:")
    lines.extend(f"  {one_line(line)}" for line in known.get("log_lines") or [])
    return lines
