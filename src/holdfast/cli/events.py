"""`holdfast events`: the ledger's records as they are written."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from holdfast import errors
from holdfast.cli.selecting import selector_option
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.errors import HoldfastError

RECONNECT_S = 0.2  # a killed keeper is back within a second
SHOWN_BEFORE = 50  # records before the end that `events` shows unless --all


def follow_events(session: Session, after: int, query: dict[str, object], *, follow: bool) -> Iterator[dict[str, Any]]:
    """Records after `after`, in order, each once. With `follow` without end, over restarts of the keeper too.

    `query`: filters as /v1/events has them; `last` and `since` bound only what is there already.
    """
    answered, query = False, dict(query)
    while True:
        try:
            for line in session.client().stream("/v1/events", follow=follow, after=after, **query):
                if not line.strip():
                    continue  # a sign of life
                record = json.loads(line)
                after = max(after, int(record["seq"]))
                yield record
            answered = True
            query.pop("last", None)
        except HoldfastError as error:
            if not (follow and answered and error.kind.code == errors.KEEPER_UNREACHABLE.code):
                raise
        if not follow:
            return
        time.sleep(RECONNECT_S)


def read_since(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Callback of --since: seconds."""
    if value is None:
        return None
    from holdfast.spec import units

    try:
        return float(units.parse_duration(value))
    except ValueError as error:
        meant = f"did you mean {error}" if str(error) else "write 90s, 10m, 2h or 3d"
        raise click.BadParameter(f"{value!r} is no length of time; {meant}", context, parameter) from error


def event_line(record: dict[str, Any]) -> str:
    from holdfast.cli.render import clock, one_line

    agent = record.get("agent") or "-"
    text = one_line(record.get("text") or json.dumps(record.get("body") or {}))
    return f"{clock(record.get('at'))}  {record.get('seq'):>6}  {agent:<16}  {record.get('kind', ''):<18}  {text}"


@click.command(
    cls=Command,
    examples=[
        "holdfast events",
        "holdfast events -f --agent assistant",
        "holdfast events -l team=research --kind ladder --since 1h",
        "holdfast events --agent assistant --since 10s --until incident.judged",
        "holdfast events --json --all | jq -r 'select(.kind == \"incident.opened\") | .agent'",
    ],
)
@click.option("-f", "--follow", is_flag=True, help="Go on with records as they are written.")
@click.option("--until", "last_kind", metavar="KIND", help="Wait for a record of this kind, and end with it.")
@click.option("--agent", shell_complete=complete_agent, help="Only records of this agent.")
@selector_option
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind, whole or up to a dot; repeatable."
)
@click.option("--since", metavar="TIME", callback=read_since, help="Only the last so long: 90s, 10m, 2h, 3d.")
@click.option("--after", type=int, default=None, metavar="SEQ", help="Only records after this number.")
@click.option("--all", "everything", is_flag=True, help="From the first record; otherwise the last 50.")
@pass_session
def events(
    session: Session,
    follow: bool,
    last_kind: str | None,
    agent: str | None,
    selector: str | None,
    kinds: tuple[str, ...],
    since: float | None,
    after: int | None,
    everything: bool,
) -> None:
    """Show what Holdfast saw, decided and did (the ledger)."""
    if kinds and last_kind is not None:
        kinds = (*kinds, last_kind)  # else it would never be seen
    asked = {"agent": agent, "selector": selector, "kind": ",".join(kinds), "since": since}
    query: dict[str, object] = {name: value for name, value in asked.items() if value not in (None, "")}
    if after is None and since is None and not everything:
        query["last"] = SHOWN_BEFORE
    shown = 0
    for shown, record in enumerate(  # noqa: B007
        follow_events(session, after or 0, query, follow=follow or last_kind is not None), start=1
    ):
        if session.as_json:
            session.answer(record)
        else:
            click.echo(event_line(record))
        if record.get("kind") == last_kind:
            return
    if agent is not None and not shown and not (kinds or since or after):
        session.client().get(f"/v1/agents/{agent}")  # a slip in the name is told; who was removed has records
