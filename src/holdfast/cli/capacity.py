"""`holdfast capacity`: how many more agents fit on this machine, of which kind, and what limits that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from holdfast.cli.session import Command, Session, complete_agent, pass_session

HEADERS = ("KIND", "MORE", "WORKS WITH", "START", "CPU", "DISK", "LIMITED BY")
DROPPED_FIRST = ("DISK", "CPU", "START", "WORKS WITH")
MORE_MAX = 10_000  # beyond it the answer is "as many as you like"; density.capacity.MOST

Document = dict[str, Any]


@click.command(
    cls=Command,
    examples=[
        "holdfast capacity",
        "holdfast capacity --for openclaw",
        "holdfast capacity --for crew-1 --json | jq '.kinds[0].more'",
    ],
)
@click.option(
    "--for",
    "wanted",
    metavar="AGENT|RECIPE",
    shell_complete=complete_agent,
    help="Only agents like this one, or of this recipe.",
)
@pass_session
def capacity(session: Session, wanted: str | None) -> None:
    """Show how many more agents fit, and what limits that.

    Each agent counts with what it was seen to hold when it works (95 of 100 readings), not with what it holds while
    it waits. What was not seen at work yet is counted with three quarters of what its start takes, or what it holds,
    and marked "~". MORE is the answer for each kind alone.
    """
    from holdfast.cli.render import terminal_width

    found = session.client().get("/v1/capacity", **({"for": wanted} if wanted else {}))
    if session.as_json:
        session.answer(found)
        return
    click.echo("\n".join(capacity_lines(found, terminal_width())))


def capacity_lines(found: Document, width: int | None) -> list[str]:
    """Everything, for people. With `width` no line is longer."""
    from holdfast.cli.render import table, wrap

    lines = [part for line in _node(found) for part in wrap(line, width)]
    rows = [_row(kind) for kind in found.get("kinds") or []]
    if rows:
        lines += ["", *table(HEADERS, rows, width=width, drop=DROPPED_FIRST)]
    notes = [part for note in found.get("notes") or [] for part in wrap(f"note: {note}", width)]
    return [*lines, *([""] if notes else []), *notes]


def _node(found: Document) -> Iterator[str]:
    from holdfast.cli.render import one_line, size

    agents = found.get("agents") or []
    others = found.get("others_bytes") or 0
    reserve = f"{size(found['reserve_bytes'])} in reserve"
    yield f"node     {size(found['node_bytes'])} ({one_line(found['node_why'])}), {reserve}"
    taken = f", {size(others)} held by other software" if others else ""
    yield f"agents   {size(found['budget_bytes'])} for all of them{taken}"
    count = f"{len(agents)} agent{'' if len(agents) == 1 else 's'}"
    yield f"counted  {size(found['counted_bytes'])} for {count} when all of them work"
    memory, disk = max(0, found["free_bytes"]), found["disk_free_bytes"]
    yield f"free     {size(memory)} memory, {found['cores_free']:g} of {found['cores']:g} cores, {size(disk)} disk"


def _row(kind: Document) -> list[str]:
    from holdfast.cli.render import NOTHING, one_line, size

    agents = kind.get("agents") or []
    name = one_line(kind["name"]) + (f" (of {len(agents)})" if len(agents) > 1 else "")
    more = kind["more"]
    limit = one_line(kind["why"])
    return [
        name,
        f"{MORE_MAX}+" if more >= MORE_MAX else str(more),
        ("" if kind["seen"] else "~") + size(kind["work_bytes"]),
        size(kind["start_bytes"]),
        f"{kind['cpu']:.2f}" if kind["seen"] else NOTHING,
        size(kind["disk_bytes"]) if kind["disk_bytes"] else NOTHING,
        f"{kind['limited_by']}: {limit}" if kind["limited_by"] != "nothing" else "nothing",
    ]
