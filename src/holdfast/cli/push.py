"""`holdfast push`: the URLs an agent, or a script beside it, pushes beats to."""

from __future__ import annotations

import click

from holdfast.cli.session import Command, Session, complete_agent, pass_session


@click.command(
    cls=Command,
    examples=[
        "holdfast push backup",
        'curl -fsS -m 10 --retry 3 "$(holdfast push backup --json | jq -r .url)"',
    ],
)
@click.argument("agent", shell_complete=complete_agent)
@pass_session
def push(session: Session, agent: str) -> None:
    """Show where AGENT's beats are pushed to.

    Whoever knows the URL can report for the agent: treat it as a secret. The agent itself finds it in its environment
    as HOLDFAST_PUSH_URL.
    """
    found = session.client().get(f"/v1/agents/{agent}/push")
    if session.as_json:
        session.answer(found)
        return
    url = found["url"]
    lines = [
        f"success       {url}",
        f"start         {url}/start",
        f"failure       {url}/fail",
        f"exit code     {url}/0 … {url}/255",
        f"Uptime Kuma   {found['kuma_url']}?status=up&msg=OK&ping=",
        f"due every {found['every_s']:g} s, at most {found['grace_s']:g} s late, from the first success on",
    ]
    if found["problem"]:
        lines.append(f"nothing comes in now: {found['problem']}")
    click.echo("\n".join(lines))
