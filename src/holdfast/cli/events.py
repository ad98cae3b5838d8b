"""`holdfast events`: the ledger's records as they are written."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from holdfast import errors
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.errors import HoldfastError

RECONNECT_S = 0.2  # a killed keeper is back within a second
SHOWN_BEFORE = 50  # records before the end that `events` shows unless --all


def follow_events(session: Session, after: int, agent: str | None, *, follow: bool) -> Iterator[dict[str, Any]]:
    """Records after `after`, in order, each once. With `follow` without end, over restarts of the keeper too."""
    query = {"agent": agent} if agent else {}
    answered = False
    while True:
        try:
            for line in session.client().stream("/v1/events", follow=follow, after=after, **query):
                if not line.strip():
                    continue  # a sign of life
                record = json.loads(line)
                after = max(after, int(record["seq"]))
                yield record
            answered = True
        except HoldfastError as error:
            if not (follow and answered and error.kind.code == errors.KEEPER_UNREACHABLE.code):
                raise
        if not follow:
            return
        time.sleep(RECONNECT_S)


def event_line(record: dict[str, Any]) -> str:
    from holdfast.cli.render import clock, one_line

    agent = record.get("agent") or "-"
    text = one_line(record.get("text") or json.dumps(record.get("body") or {}))
    return f"{clock(record.get('at'))}  {record.get('seq'):>6}  {agent:<16}  {record.get('kind', ''):<18}  {text}"


@click.command(
    cls=Command, examples=["holdfast events", "holdfast events -f --agent assistant", "holdfast events --json --all"]
)
@click.option("-f", "--follow", is_flag=True, help="Go on with records as they are written.")
@click.option("--agent", shell_complete=complete_agent, help="Only records of this agent.")
@click.option("--after", type=int, default=None, metavar="SEQ", help="Only records after this number.")
@click.option("--all", "everything", is_flag=True, help="From the first record; otherwise the last 50.")
@pass_session
def events(session: Session, follow: bool, agent: str | None, after: int | None, everything: bool) -> None:
    """Show what Holdfast saw, decided and did (the ledger)."""
    if after is None and not everything:
        after = _start_of_tail(session, agent)
    for record in follow_events(session, after or 0, agent, follow=follow):
        if session.as_json:
            session.answer(record)
        else:
            click.echo(event_line(record))


def _start_of_tail(session: Session, agent: str | None) -> int:
    """The number before the last SHOWN_BEFORE records."""
    from collections import deque

    last: deque[int] = deque(maxlen=SHOWN_BEFORE)
    for record in follow_events(session, 0, agent, follow=False):
        last.append(int(record["seq"]))
    return last[0] - 1 if last else 0
