"""`holdfast undelete [AGENT [SNAPSHOT]]`: bring back an agent that was removed, or a snapshot that was deleted."""

from __future__ import annotations

import click

from holdfast.cli.session import Command, Session, pass_session


def _complete_deleted(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from holdfast.cli.session import deleted_agents

    return [name for name in deleted_agents(context) if name.startswith(incomplete)]


@click.command(
    "undelete",
    cls=Command,
    examples=[
        "holdfast undelete                            what can be brought back",
        "holdfast undelete assistant",
        "holdfast undelete assistant --stopped        look around before it runs",
        "holdfast undelete assistant 3f2a9c01b2d4     a snapshot of it",
    ],
)
@click.argument("agent", required=False, shell_complete=_complete_deleted)
@click.argument("snapshot", required=False)
@click.option("--stopped", is_flag=True, help="Bring the agent back without starting it.")
@pass_session
def undelete(session: Session, agent: str | None, snapshot: str | None, stopped: bool) -> None:
    """Bring back an agent that was removed, with its definition, its secrets and its snapshots; or a deleted snapshot.

    Its files are taken as they are. If they are gone too they come back from its newest snapshot before it is started;
    if only some are, it is not started, and you are told how to go on. An agent that was declared anew meanwhile goes
    on as it is, and gets its former snapshots back. Without AGENT: what can be brought back, and until when.
    """
    if agent is None:
        _list(session)
    elif snapshot is not None:
        if stopped:
            raise click.UsageError("--stopped is about agents, not about a snapshot")
        _snapshot(session, agent, snapshot)
    else:
        _agent(session, agent, stopped=stopped)


def _list(session: Session) -> None:
    from holdfast.cli.render import terminal_width
    from holdfast.cli.rm import deleted_lines

    found = session.client().get("/v1/deleted")
    rows = found.get("agents") or []
    if session.as_json:
        session.answer(found)
    elif rows:
        click.echo("\n".join(deleted_lines(rows, terminal_width())))
    else:
        click.echo("no removed agent can be brought back; deleted snapshots: holdfast snapshots AGENT --deleted")


def _agent(session: Session, name: str, *, stopped: bool) -> None:
    from holdfast.cli.state_progress import follow

    found = follow(session, "POST", f"/v1/agents/{name}/undelete", {"start": not stopped}, f"bringing {name} back")
    if session.as_json:
        session.answer(found)
        return
    from holdfast.cli.render import clock, one_line
    from holdfast.cli.state_view import count, short

    if found.get("was_there"):
        click.echo(f"{name}: {count(found.get('snapshots'), 'snapshot')} of before its removal are back")
        click.echo(f"  the agent and its files are as they were ({found.get('phase')}); go back with:")
        click.echo(f"  holdfast snapshots {name}, then holdfast restore {name} SNAPSHOT")
        return
    kept = f" with {count(found['snapshots'], 'snapshot')}" if found.get("snapshots") else ""
    click.echo(f"{name}: back in the fleet{kept} ({found.get('phase')})")
    if found.get("restored"):
        which = f"snapshot {short(found['restored'])} of {clock(found.get('at'))}"
        click.echo(f"  its files were gone too: they are those of {which} again")
    missing = [one_line(path) for path in found.get("missing") or []]
    if missing and found.get("newest"):
        click.echo(f"  not there any more, so it was not started: {', '.join(missing)}")
        click.echo(f"  bring them back, and the others to the same moment:  holdfast restore {name}")
        click.echo(f"  then start it:  holdfast start {name}")
        return
    if missing:
        click.echo(f"  warning: not there any more, and in no snapshot: {', '.join(missing)}")
    click.echo(f"  start it with: holdfast start {name}" if stopped else f"  watch it with: holdfast describe {name}")


def _snapshot(session: Session, agent: str, snapshot: str) -> None:
    from holdfast.cli.state_upkeep import snapshot_id
    from holdfast.cli.state_view import short

    found = session.client().post(f"/v1/agents/{agent}/snapshots/{snapshot_id(snapshot)}/undelete", {}, timeout_s=120.0)
    if session.as_json:
        session.answer({"agent": agent, **found})
        return
    click.echo(f"{agent}: snapshot {short(found.get('id'))} is back: holdfast restore {agent} {short(found.get('id'))}")
