"""`holdfast rm AGENT`: take agents out of the fleet, with a way back for a month.

Invariant: nobody's files are deleted; what an agent had on disk stays where it is, and its snapshots stay until they
expire. Asked before, since what runs is stopped.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from holdfast import errors
from holdfast.cli.selecting import Choice, Row, chosen, selector_option
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.errors import HoldfastError


@click.command(
    "rm",
    cls=Command,
    examples=["holdfast rm assistant", "holdfast rm -l team=research --yes", "holdfast undelete assistant"],
)
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@selector_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_session
def rm(session: Session, agents: tuple[str, ...], selector: str | None, yes: bool) -> None:
    """Remove agents: a last snapshot, then they are stopped and leave the fleet.

    Their files stay where they are. Definition and snapshots are kept for 30 days: `holdfast undelete AGENT` brings the
    agent back, `holdfast restore AGENT --to DIR` reads its state meanwhile. While a holdfast.yaml declares it, the next
    `holdfast up` with that file starts it again.
    """
    rows = chosen(session.client(), Choice(agents, selector), has_all=False)
    if not yes:
        _agree(session, rows)
    for row in rows:
        _remove(session, str(row["name"]))


def _agree(session: Session, rows: list[Row]) -> None:
    """Raises USAGE when there is nobody to ask; leaves when the answer is no."""
    names = ", ".join(str(row["name"]) for row in rows)
    if session.as_json or not sys.stdin.isatty():
        reason = f"this stops and removes {names}, and there is nobody to ask: say --yes"
        raise HoldfastError(errors.USAGE, reason=reason, command="holdfast rm")
    for row in rows:
        click.echo(f"{row['name']} ({row.get('phase')}): stopped and removed; its files stay where they are", err=True)
    if not click.confirm("Go on?", default=False, err=True):
        session.hint("nothing was changed")
        raise click.exceptions.Exit(1)


def _remove(session: Session, name: str) -> None:
    from holdfast.cli.state_progress import follow

    found = follow(session, "DELETE", f"/v1/agents/{name}", None, f"removing {name}")
    if session.as_json:
        session.answer(found)
        return
    click.echo("\n".join(removed_lines(name, found)))


def removed_lines(name: str, found: dict[str, Any]) -> list[str]:
    from holdfast.cli.render import clock, one_line
    from holdfast.cli.state_view import count

    lines = [f"{name}: removed"]
    if found.get("snapshots"):
        lines[0] += f"; {count(found['snapshots'], 'snapshot')} kept"
    lines += [f"  warning: {one_line(text)}" for text in found.get("trouble") or []]
    if found.get("paths"):
        lines.append(f"  its files stay in {', '.join(one_line(path) for path in found['paths'])}")
    until = f" until {clock(found['until'])}" if found.get("until") else ""
    lines.append(f"  bring it back{until} with: holdfast undelete {name}")
    if found.get("source"):
        lines.append(
            f"  {one_line(found['source'])} may still declare it: take it out there too, or the next `up` starts it"
        )
    return lines


def deleted_lines(rows: list[dict[str, Any]], width: int | None) -> list[str]:
    """The agents that can be brought back."""
    from holdfast.cli.render import clock, duration, one_line, table

    now_at = time.time()
    cells = [
        (
            str(row.get("agent")),
            f"{duration(now_at - (row.get('removed_at') or now_at))} ago",
            clock(row.get("until")),
            "-" if row.get("snapshots") is None else f"{row['snapshots']:,}",
            ", ".join(one_line(path) for path in row.get("paths") or ()),
        )
        for row in rows
    ]
    return table(("AGENT", "REMOVED", "KEPT UNTIL", "SNAPSHOTS", "ITS FILES"), cells, width=width, drop=("SNAPSHOTS",))
