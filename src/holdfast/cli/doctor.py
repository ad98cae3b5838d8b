"""`holdfast doctor`: what this machine and this home can hold, and what to do about the rest."""

from __future__ import annotations

from typing import Any

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, pass_session
from holdfast.errors import HoldfastError


@click.command(cls=Command, examples=["holdfast doctor", "holdfast doctor --json | jq '.checks[] | select(.ok | not)'"])
@pass_session
def doctor(session: Session) -> None:
    """Check the machine: cgroups, users, disks, sockets, kernel, alerts; and which limits hold here.

    Asks the keeper when it runs, and looks by itself otherwise. What does not hold is told, and is no failure of
    this command: its exit code is 0.
    """
    from holdfast.cli.render import paint

    found = checks(session)
    if session.as_json:
        session.answer({"checks": found})
        return
    width = max((len(str(one["name"])) for one in found), default=0)
    for one in found:
        mark = paint("ok  ", "green") if one["ok"] else paint("no  ", "yellow")
        click.echo(f"{mark} {one['name']!s:<{width}}  {one['value']}")
        if not one["ok"]:
            click.echo(f"     {'':<{width}}  {one['why']}")
            click.echo(f"     {'':<{width}}  next: {one['next']}")
    missing = sum(not one["ok"] for one in found)
    click.echo(f"{len(found) - missing} of {len(found)} hold")


def checks(session: Session) -> list[dict[str, Any]]:
    """The keeper's view, else our own of the same machine."""
    try:
        return list(session.client(timeout_s=10.0).get("/v1/doctor").get("checks", []))
    except HoldfastError as error:
        if error.kind.code != errors.KEEPER_UNREACHABLE.code:
            raise
    session.hint("no keeper runs here: this is what the machine itself shows")
    import msgspec

    from holdfast.node.doctor import checks as look

    return [msgspec.to_builtins(one) for one in look(session.home)]
