"""`holdfast state log|diff|cat|du|verify|export|gc|key|pin|rm`: into the versions of an agent's state.

The group, and the commands that show history and cost; contents are in state_content.py, upkeep is in state_upkeep.py.
"""

from __future__ import annotations

from shlex import quote
from typing import Any

import click

from holdfast import errors
from holdfast.cli.selecting import Choice, all_option, chosen, selector_option
from holdfast.cli.session import Command, Group, Session, complete_agent, complete_snapshot, pass_session
from holdfast.cli.state_content import cat_command, export_command
from holdfast.cli.state_upkeep import gc_command, key_command, pin_command, rm_command, verify_command
from holdfast.errors import HoldfastError

LOOK_MAX_S = 600.0  # a comparison of a million files, on a loaded disk


@click.group(
    "state",
    cls=Group,
    examples=[
        "holdfast state log assistant memory/notes.md      when one file changed",
        "holdfast state diff assistant 'yesterday 14:00'   what changed since then",
        "holdfast state du                                 what the versions cost",
    ],
)
def state() -> None:
    """Look into the versions of an agent's state: histories, differences, contents, cost, soundness.

    Wherever a SNAPSHOT is asked for, the first digits of an id, `newest`, `known-good` or a time ('10 min ago') do;
    `rm` and `pin` take ids alone. Nothing here touches the agent or its files.
    """


@state.command(
    "log",
    cls=Command,
    examples=["holdfast state log assistant memory/notes.md", "holdfast state log assistant /srv/bot/state.db --json"],
)
@click.argument("agent", shell_complete=complete_agent)
@click.argument("path")
@pass_session
def log_command(session: Session, agent: str, path: str) -> None:
    """Show the versions of one file or directory, newest first: when it appeared, changed and went.

    PATH is absolute, or relative to one of the agent's state paths.
    """
    found = session.client().look(f"/v1/agents/{agent}/state/log", {"path": path}, LOOK_MAX_S)
    if session.as_json:
        session.answer(found)
        return
    from holdfast.cli.render import one_line, terminal_width
    from holdfast.cli.state_view import now, short, version_lines

    versions = found.get("versions") or []
    if not versions:
        raise HoldfastError(errors.STATE_PATH_NOT_FOUND, agent=agent, path=path)
    shown = one_line(found.get("path") or path)
    click.echo(f"{agent}: {shown}")
    click.echo("\n".join(version_lines(found, now(), terminal_width())))
    there = next((one for one in versions if one.get("change") != "removed"), None)
    if there is None:
        return
    which = f"{agent} {short(there.get('snapshot'))}"
    if there.get("size") is None:  # a directory
        click.echo(f"look into one: holdfast restore {which} --path {quote(shown)} --to NEW_DIRECTORY")
    else:
        click.echo(f"read one: holdfast state cat {which} {quote(shown)}")


@state.command(
    "diff",
    cls=Command,
    examples=[
        "holdfast state diff assistant known-good",
        "holdfast state diff assistant 3f2a9c01 newest",
        "holdfast state diff assistant 'yesterday 14:00' --path memory",
    ],
)
@click.argument("agent", shell_complete=complete_agent)
@click.argument("a", metavar="A", shell_complete=complete_snapshot)
@click.argument("b", metavar="[B]", required=False, shell_complete=complete_snapshot)
@click.option("--path", "path", metavar="P", help="Only below this path.")
@pass_session
def diff_command(session: Session, agent: str, a: str, b: str | None, path: str | None) -> None:
    """Show what differs between snapshot A and snapshot B; without B, the agent's files as they are now.

    + new, ~ changed, - removed, with sizes; for short text files the lines that differ.
    """
    from holdfast.cli.restore import wish_text

    query: dict[str, object] = {"a": wish_text(a, prefer_id=True), **({"path": path} if path else {})}
    if b is not None:
        query["b"] = "live" if b == "live" else wish_text(b, prefer_id=True)
    found = session.client().look(f"/v1/agents/{agent}/state/diff", query, LOOK_MAX_S)
    if session.as_json:
        session.answer(found)
        return
    click.echo("\n".join(_difference(agent, found, live=b in (None, "live"))))


def _difference(agent: str, found: dict[str, Any], *, live: bool) -> list[str]:
    from holdfast.cli.render import size
    from holdfast.cli.state_view import change_counts, change_lines, short

    later = "now" if live else f"snapshot {short(found.get('b'))}"
    lines = [f"{agent}: from snapshot {short(found.get('a'))} to {later}: {change_counts(found)}"]
    before, after = found.get("bytes_before"), found.get("bytes_after")
    if before is not None and after is not None and before != after:
        lines[0] += f"; {size(before)} -> {size(after)}"
    return lines + change_lines(found)


@state.command(
    "du", cls=Command, examples=["holdfast state du", "holdfast state du assistant", "holdfast state du -l team=x"]
)
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@selector_option
@all_option
@pass_session
def du_command(session: Session, agents: tuple[str, ...], selector: str | None, everybody: bool) -> None:
    """Show what the versions cost on disk, what whole copies would, and what is left of the budget.

    Without names: every agent that keeps versions.
    """
    from holdfast.cli.state_view import now, usage_lines

    client = session.client()
    choice = Choice(agents, selector, everybody)
    names = list(agents) if agents else [row["name"] for row in chosen(client, _all_unless(choice))]
    found: dict[str, Any] = {}
    for name in names:
        try:
            found[name] = client.look(f"/v1/agents/{name}/state/du", {}, LOOK_MAX_S)
        except HoldfastError as error:
            if agents or error.kind.code not in (errors.NO_SNAPSHOTS.code, errors.STATE_NOT_DECLARED.code):
                raise
            continue
        if not session.as_json:
            click.echo("\n".join(usage_lines(name, found[name], now())))
    if session.as_json:
        session.answer({"agents": found})
    elif not found:
        click.echo("no agent keeps versions of its state; see `state` in holdfast.yaml")
    elif len(found) > 1:
        _total(found)


def _all_unless(choice: Choice) -> Choice:
    return Choice(everybody=True) if choice.is_open else choice


def _total(found: dict[str, Any]) -> None:
    from holdfast.cli.render import size

    stored = sum(one.get("stored_bytes") or 0 for one in found.values())
    logical = sum(one.get("logical_bytes") or 0 for one in found.values())
    click.echo(f"all: {size(stored)} for {size(logical)} of versions")


for _command in (
    cat_command, export_command, verify_command, gc_command, pin_command, rm_command, key_command,
):  # fmt: skip
    state.add_command(_command)
