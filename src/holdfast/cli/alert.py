"""`holdfast alert test`: prove that a person would be told."""

from __future__ import annotations

import click

from holdfast.cli.session import Command, Group, Session, pass_session

SEND_MAX_S = 120.0  # several channels in turn, each with its own shorter limit


@click.group(cls=Group, examples=["holdfast alert test"])
def alert() -> None:
    """Alerts: how a person is told when healing has failed."""


@alert.command("test", cls=Command, examples=["holdfast alert test --json"])
@pass_session
def test_command(session: Session) -> int:
    """Send a test alert through every channel. Exit code 1 unless one got through."""
    sent = session.client().post("/v1/alerts/test", {}, timeout_s=SEND_MAX_S).get("sent", [])
    if session.as_json:
        session.answer({"sent": sent})
    elif not sent:
        click.echo("no channel is declared: add `alerts:` to holdfast.yaml and run `holdfast up`")
    for entry in [] if session.as_json else sent:
        reason = "" if entry.get("ok") else f": {entry.get('reason')}"
        click.echo(f"{'ok    ' if entry.get('ok') else 'failed'} {entry.get('channel')}{reason}")
    return 0 if any(entry.get("ok") for entry in sent) else 1
