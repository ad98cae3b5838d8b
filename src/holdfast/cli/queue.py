"""`holdfast queue`: say how much work waits for a group of replicas, or see what follows from it."""

from __future__ import annotations

import json
import math
from typing import Any

import click

from holdfast.cli.session import Command, Session, pass_session


def _depth(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A number of tasks; not a count of whole ones, since some queues tell an estimate."""
    if value is None:
        return None
    try:
        depth = float(value)
    except ValueError:
        depth = math.nan
    if not 0 <= depth < math.inf:
        reason = f"{value!r} is not a number of waiting tasks: say 0 or more, such as 42"
        raise click.BadParameter(reason, context, parameter)
    return depth


@click.command(
    cls=Command,
    examples=[
        "holdfast queue                 every group that follows a queue",
        "holdfast queue crew 42         42 tasks wait for crew: its replicas follow within seconds",
        'holdfast queue crew "$(redis-cli llen tasks)"',
    ],
)
@click.argument("group", required=False)
@click.argument("depth", required=False, callback=_depth)
@pass_session
def queue(session: Session, group: str | None, depth: float | None) -> None:
    """Say that DEPTH tasks wait for GROUP, or show how its replicas follow its queue.

    GROUP is an agent of holdfast.yaml with `replicas: {min, max, per_queue_depth}`. A number holds for five minutes:
    say it again each minute or so. Without a fresh one, as many replicas run as before.
    """
    client = session.client()
    if group is None:
        found = client.get("/v1/queues")
        rows = found["queues"]
    elif depth is None:
        found = client.get(f"/v1/queues/{group}")
        rows = [found]
    else:
        found = client.put(f"/v1/queues/{group}", json.dumps({"depth": depth}).encode())
        rows = [found]
    if session.as_json:
        session.answer(found)
        return
    if not rows:
        session.say("no agent follows a queue; give one `replicas: {min: 1, max: 5, per_queue_depth: 10}`")
    for row in rows:
        click.echo(_line(row))


def _line(row: dict[str, Any]) -> str:
    waits = "depth unknown" if row["depth"] is None else f"{row['depth']:g} wait"
    wished = "" if row["wished"] is None or row["wished"] == row["wanted"] else f", {row['wished']} asked for"
    line = f"{row['group']}: {waits}; {row['wanted']} of {row['least']} to {row['most']} replicas{wished}"
    line += f", {row['running']} ready, {row['spare']} spare"
    return f"{line}\n  last change: {row['why']}" if row["why"] else line
