"""`holdfast ps`: what runs, why, and what happens next. Exit code 3 when an agent is not as it should be."""

from __future__ import annotations

import click

from holdfast.cli.session import Command, Session, pass_session

EXIT_NOT_HEALTHY = 3


@click.command(
    cls=Command,
    examples=["holdfast ps", "holdfast ps --json | jq -r '.agents[] | select(.phase != \"healthy\") | .name'"],
)
@pass_session
def ps(session: Session) -> int:
    """Show every agent: phase, health, restarts, and what happens next.

    HEALTH is process/endpoint/behaviour. TIER is the step of the ladder at work: 0 none, 1 restart, 2 recreate,
    4 alert. Exit code 3 when an agent is neither healthy, finished nor stopped on request.
    """
    from holdfast.cli.fleet_view import status_lines, unsettled
    from holdfast.cli.render import terminal_width

    status = session.client().get("/v1/status")
    if session.as_json:
        session.answer(status)
    else:
        click.echo("\n".join(status_lines(status, terminal_width())))
    return EXIT_NOT_HEALTHY if unsettled(status) else 0
