"""`holdfast ps`: what runs, why, and what happens next. Exit code 3 when an agent is not as it should be."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli.selecting import Choice, selector_option, status_of
from holdfast.cli.session import Command, Session, complete_agent, pass_session

EXIT_NOT_HEALTHY = 3
# What --sort compares; the larger is shown first where a person looks for the largest.
SORT_KEYS = ("name", "phase", "restarts", "uptime", "memory", "cpu", "priority")
_LARGEST_FIRST = frozenset({"restarts", "memory", "cpu", "priority"})


@click.command(
    cls=Command,
    examples=[
        "holdfast ps",
        "holdfast ps -l team=research --sort memory",
        "holdfast ps -o name -l '!canary' | xargs holdfast restart",
        "kill -9 $(holdfast ps -o pid --holdfast)   # try it: no agent notices",
        "holdfast ps -w",
        "holdfast ps --json | jq -r '.agents[] | select(.phase != \"healthy\") | .name'",
    ],
)
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@selector_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "name", "pid", "json"]),
    default="table",
    show_default=True,
    help="wide: every column, nothing cut; name, pid: one a line; json: as --json.",
)
@click.option("--holdfast", "own", is_flag=True, help="Holdfast's own processes, not the agents.")
@click.option("--sort", type=click.Choice(SORT_KEYS), help="Order of the rows; otherwise as in holdfast.yaml.")
@click.option("-w", "--watch", "watched", is_flag=True, help="Go on until Ctrl-C; without a terminal: what changes.")
@pass_session
def ps(
    session: Session,
    agents: tuple[str, ...],
    selector: str | None,
    output: str,
    own: bool,
    sort: str | None,
    watched: bool,
) -> int:
    """Show agents: phase, health, restarts, and what happens next.

    HEALTH is process/endpoint/behaviour. TIER is the step of the ladder at work: 0 none, 1 restart, 2 recreate,
    3 restore, 4 alert. Exit code 3 when an agent shown is neither healthy, finished, hibernating, spare nor stopped on
    request.
    """
    from holdfast.cli.fleet_view import status_lines, unsettled
    from holdfast.cli.render import terminal_width

    client, choice = session.client(), Choice(agents, selector)
    session.as_json = session.as_json or output == "json"
    if watched:
        from holdfast.cli.watching import watch

        status_of(client, choice)  # a keeper that is not there, or a name that is wrong, is told at once
        watch(session, client, lambda: _sorted(status_of(client, choice), sort), footer="Ctrl-C ends this view")
        return 0
    status = _sorted(status_of(client, choice), sort)
    if own:
        _show_own(session, status, output)
        return 0
    if session.as_json:
        session.answer(status)
    elif output in ("name", "pid"):
        click.echo(_column(status["agents"], output), nl=False)
    else:
        click.echo("\n".join(status_lines(status, terminal_width(), wide=output == "wide")))
    return EXIT_NOT_HEALTHY if unsettled(status) else 0


def _show_own(session: Session, status: dict[str, Any], output: str) -> None:
    """Holdfast's own processes: those that are there, top down."""
    from holdfast.cli.fleet_view import own_line

    if session.as_json:
        session.answer(status["holdfast"])
    elif output in ("name", "pid"):
        click.echo(_column(status["holdfast"]["processes"], output), nl=False)
    else:
        click.echo(own_line(status))


def _column(rows: list[dict[str, Any]], key: str) -> str:
    """One value a line; what has none (a process that does not run) has no line."""
    return "".join(f"{row[key]}\n" for row in rows if row[key] is not None)


def _sorted(status: dict[str, Any], key: str | None) -> dict[str, Any]:
    """The same status with its rows in the order of `key`; rows without a value come last."""
    if key is not None:
        status["agents"] = sorted(status["agents"], key=lambda row: sort_key(row, key))
    return status


def sort_key(row: dict[str, Any], key: str) -> tuple[Any, ...]:
    """By what rows are sorted: ties by name, absent values behind all others."""
    usage = row.get("usage") or {}
    fields = {"uptime": "uptime_s", "memory": "rss_bytes"}
    value = usage.get("cpu") if key == "cpu" else row.get(fields.get(key, key))
    if value is None:
        return (1, 0, row["name"])
    return (0, -value if key in _LARGEST_FIRST else value, row["name"])
