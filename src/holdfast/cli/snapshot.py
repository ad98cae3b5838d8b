"""`holdfast snapshot AGENT`: keep what agents have on disk now, as a version to come back to."""

from __future__ import annotations

import sys
from typing import Any

import click

from holdfast import errors
from holdfast.cli.selecting import Choice, all_option, chosen, selector_option
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.errors import HoldfastError


@click.command(
    "snapshot",
    cls=Command,
    examples=[
        "holdfast snapshot assistant",
        "holdfast snapshot assistant --label 'before the big cleanup'",
        "holdfast snapshot -l team=research",
    ],
)
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@click.option("--label", default="", metavar="TEXT", help="Your own words for it, shown in the list.")
@selector_option
@all_option
@pass_session
def snapshot(session: Session, agents: tuple[str, ...], label: str, selector: str | None, everybody: bool) -> int:
    """Take a snapshot of what agents keep on disk, while they run.

    Databases are copied at one moment each, also while they are written to. Holdfast takes snapshots by itself (state:
    every in holdfast.yaml); this is for the moment before you do something.
    """
    from holdfast.cli.state_progress import follow
    from holdfast.cli.state_view import now

    choice = Choice(agents, selector, everybody)
    one = len(agents) == 1 and not (selector or everybody)
    names = list(agents) if one else [str(row["name"]) for row in chosen(session.client(), choice)]
    worst: HoldfastError | None = None
    for name in names:
        try:
            found = follow(session, "POST", f"/v1/agents/{name}/snapshots", {"label": label}, f"snapshot of {name}")
        except HoldfastError as error:
            if one or error.kind.code == errors.KEEPER_UNREACHABLE.code:
                raise
            worst = error
            print(f"{error.kind.code} {error.kind.name}: {error.summary}", file=sys.stderr)
            continue
        if session.as_json:
            taken = found.get("snapshot")
            session.answer({"agent": name, "id": _id(found), **found, "taken": taken is not None})
        else:
            click.echo(_words(name, found, now()))
    if worst is not None:
        session.hint(f"next: {worst.next_step}")
        return worst.exit_code
    return 0


def _id(found: dict[str, Any]) -> str:
    """The snapshot that holds the present state, whether it was made now or before."""
    return str((found.get("snapshot") or {}).get("id") or found.get("unchanged_since") or "")


def _words(agent: str, found: dict[str, Any], now_at: float) -> str:
    from holdfast.cli.render import duration, one_line, size
    from holdfast.cli.state_view import count, short

    taken = found.get("snapshot")
    if not taken:
        return f"{agent}: nothing changed since snapshot {short(_id(found))}, which is your version of now"
    files = count(taken.get("files"), "file")
    stored = f"{size(taken.get('bytes_new'))} stored in {duration(taken.get('took_s'))}"
    lines = [f"{agent}: snapshot {short(taken.get('id'))} holds {files}, {size(taken.get('bytes'))}; {stored}"]
    fuzzy, left_out = taken.get("fuzzy") or (), taken.get("left_out") or ()
    if taken.get("consistency") == "fuzzy":
        lines.append(f"  fuzzy: these changed while they were read, each time: {_some(fuzzy)}")
    if found.get("note"):
        lines.append(f"  {one_line(found['note'])}")
    if left_out:
        lines.append(f"  left out: {_some(left_out)}")
    lines.append(f"  come back to it with: holdfast restore {one_line(agent)} {short(taken.get('id'))}")
    return "\n".join(lines)


def _some(paths: Any) -> str:
    from holdfast.cli.render import one_line

    shown = ", ".join(one_line(path, 80) for path in list(paths)[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown
