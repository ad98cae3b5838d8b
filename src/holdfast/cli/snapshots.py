"""`holdfast snapshots AGENT`: the versions of an agent's state there are."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli.selecting import Choice, all_option, chosen, selector_option
from holdfast.cli.session import Command, Session, complete_agent, pass_session

LIST_MAX_S = 120.0  # thousands of snapshots, on a loaded disk
SHOWN = 50  # of the newest, unless -n says otherwise: two screens


def read_when(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Callback of an option that takes a point in time."""
    if value is None:
        return None
    import time

    from holdfast import when

    try:
        return when.parse(value, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.command(
    "snapshots",
    cls=Command,
    examples=[
        "holdfast snapshots assistant",
        "holdfast snapshots assistant --since 'yesterday 14:00' --until 'yesterday 15:00'",
        "holdfast snapshots assistant --deleted",
        "holdfast snapshots assistant --json | jq -r '.snapshots[-1].id'",
    ],
)
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@selector_option
@all_option
@click.option("-n", "last", type=click.IntRange(0), default=None, metavar="N", help="Only the newest N; 0: all. [50]")
@click.option("--since", metavar="T", callback=read_when, help="Not older: 2h, '10 min ago', 03:00, yesterday 14:00 …")
@click.option("--until", metavar="T", callback=read_when, help="Not newer than this; written as for --since.")
@click.option("--deleted", is_flag=True, help="Also those that were deleted and can be had back.")
@pass_session
def snapshots(
    session: Session,
    agents: tuple[str, ...],
    selector: str | None,
    everybody: bool,
    last: int | None,
    since: float | None,
    until: float | None,
    deleted: bool,
) -> None:
    """List the snapshots of agents, the newest last. Those of removed agents too, until they expire.

    SIZE is what a restore brings back, NEW what the snapshot added to the disk. With --json all are listed unless -n.
    """
    client = session.client()
    one = len(agents) == 1 and not (selector or everybody)
    names = list(agents) if one else [row["name"] for row in chosen(client, Choice(agents, selector, everybody))]
    for number, name in enumerate(names):
        found = client.look(f"/v1/agents/{name}/snapshots", {"all": 1} if deleted else {}, LIST_MAX_S)
        rows = [row for row in found.get("snapshots", []) if _within(row, since, until)]
        keep = last if last is not None else 0 if session.as_json or since or until else SHOWN
        shown = rows[-keep:] if keep else rows
        if session.as_json:
            session.answer({**found, "agent": name, "snapshots": shown})
            continue
        if number:
            click.echo()
        click.echo("\n".join(_lines(name, found, rows, shown, many=len(names) > 1)))


def _within(row: dict[str, Any], since: float | None, until: float | None) -> bool:
    at = row.get("at") or 0.0
    return (since is None or at >= since) and (until is None or at <= until)


def _lines(
    agent: str, found: dict[str, Any], rows: list[dict[str, Any]], shown: list[dict[str, Any]], *, many: bool
) -> list[str]:
    from holdfast.cli.render import one_line, terminal_width
    from holdfast.cli.state_view import count, now, short, snapshot_lines

    trouble = [f"warning: {one_line(text)}" for text in found.get("trouble") or []]
    if not shown:
        return [f"{agent}: no snapshots; `holdfast snapshot {agent}` takes one of what its `state` declares", *trouble]
    lines = [f"{agent}:"] if many else []
    lines += snapshot_lines(shown, now(), terminal_width())
    older = f", {len(rows) - len(shown):,} older not shown (-n 0)" if len(rows) > len(shown) else ""
    lines.append(
        f"{count(len(rows), 'snapshot')}{older}; look into one without risk: "
        f"holdfast restore {agent} {short(shown[-1].get('id'))} --to NEW_DIRECTORY"
    )
    return lines + trouble
