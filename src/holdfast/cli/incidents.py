"""`holdfast incidents [list|show ID|ID|AGENT]`: what went wrong, how often, how fast it was caught, how it ended."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli.session import Command, Group, Session, complete_incident, pass_session

HEADERS = ("ID", "AGENT", "OUTCOME", "CAUGHT", "RESTORED", "TIERS", "TIMES", "LAST", "CAUSE")
# Columns a narrow terminal does without, the least missed first; the ID is what the next command needs.
DROPPED_FIRST = ("TIMES", "TIERS", "CAUGHT", "RESTORED", "OUTCOME", "LAST", "AGENT")
ID_WIDTH = 40
EXAMPLES = [
    "holdfast incidents                                 kinds of incidents, the newest of each",
    "holdfast incidents 20261121-0a1b2c3d               one of them",
    "holdfast incidents assistant                       the newest of this agent",
    "holdfast incidents 20261121-0a1b2c3d --markdown    its post-mortem",
]


class _ById(Group):
    """`incidents ID` means `incidents show ID`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=_ById, invoke_without_command=True, examples=EXAMPLES)
@click.option("--all", "each", is_flag=True, help="Every incident by itself, not grouped by kind.")
@click.pass_context
def incidents(context: click.Context, each: bool) -> None:
    """List incidents by kind, or show one with its post-mortem."""
    if context.invoked_subcommand is None:
        _list(context.ensure_object(Session), each)


@incidents.command("list", cls=Command, examples=["holdfast incidents list --json", "holdfast incidents list --all"])
@click.option("--all", "each", is_flag=True, help="Every incident by itself, not grouped by kind.")
@pass_session
def list_command(session: Session, each: bool) -> None:
    """List incidents by kind, newest last."""
    _list(session, each)


@incidents.command("show", cls=Command, examples=["holdfast incidents show 20261121-0a1b2c3d"])
@click.argument("incident", metavar="INCIDENT|AGENT", shell_complete=complete_incident)
@click.option("--markdown", is_flag=True, help="Print the post-mortem file.")
@pass_session
def show_command(session: Session, incident: str, markdown: bool) -> None:
    """Show one incident, or the newest of an agent: likely cause, evidence, timeline, log lines, post-mortem."""
    incident = _newest_of(session, incident) or incident
    if markdown:
        found = session.client().get(f"/v1/incidents/{incident}/postmortem")
        if session.as_json:
            session.answer(found)
        else:
            click.echo(found.get("markdown") or "the post-mortem is not written yet", nl=not found.get("markdown"))
        return
    known = session.client().get(f"/v1/incidents/{incident}")
    if session.as_json:
        session.answer(known)
    else:
        click.echo("\n".join(incident_lines(known)))


def _newest_of(session: Session, agent: str) -> str | None:
    """The id of the newest incident that names this agent; None for what is no agent with incidents."""
    if agent[:1].isdigit():
        return None  # an incident's own id
    rows = session.client().get("/v1/incidents").get("incidents", [])
    theirs = [row for row in rows if agent == row.get("agent") or agent in (row.get("agents") or [])]
    return max(theirs, key=lambda row: row.get("opened_at") or 0.0)["id"] if theirs else None


def _list(session: Session, each: bool) -> None:
    from holdfast.cli.render import table, terminal_width

    known = session.client().get("/v1/incidents")
    if session.as_json:
        session.answer(known)
        return
    shown = known.get("incidents", [])
    groups = {} if each else {group["last_id"]: group for group in known.get("groups") or []}
    if groups:
        shown = [row for row in shown if row.get("id") in groups]
    rows = [_row(row, groups.get(row.get("id"), {})) for row in shown]
    lines = table(HEADERS, rows, width=terminal_width(), drop=DROPPED_FIRST, first_min=ID_WIDTH)
    click.echo("\n".join(lines) if rows else "no incidents")


def _row(row: dict[str, Any], group: dict[str, Any]) -> tuple[str, ...]:
    from holdfast.cli.render import clock, duration, one_line

    agents = group.get("agents") or row.get("agents") or [row.get("agent")]
    others = f" +{len(agents) - 1}" if len(agents) > 1 else ""
    return (
        str(row.get("id")),
        one_line(str(row.get("agent") or agents[0]) + others),
        str(row.get("outcome")),
        duration(row.get("caught_s")),
        duration(row.get("restored_s")),
        ",".join(str(tier) for tier in row.get("tiers") or []) or "-",
        str(group.get("count", 1)),
        clock(row.get("opened_at")),
        one_line(row.get("likely") if row.get("kind") not in ("", None, "unknown") else row.get("cause") or ""),
    )


def incident_lines(known: dict[str, Any]) -> list[str]:
    from holdfast.cli.render import clock, duration, one_line

    tiers = ",".join(str(tier) for tier in known.get("tiers") or []) or "-"
    caught, restored = duration(known.get("caught_s")), duration(known.get("restored_s"))
    who = known.get("agent") or ", ".join(known.get("agents") or []) or "this machine"
    lines = [
        f"incident {known.get('id')}: {one_line(who)}, {known.get('outcome')}",
        *_verdict(known),
        f"  cause: {one_line(known.get('cause') or 'unknown')}",
        f"  exit: {one_line(known.get('exit') or 'none')}",
        f"  caught after {caught}, restored after {restored}, tiers {tiers}",
        *([f"  state: {one_line(known['restored'])}"] if known.get("restored") else []),
        f"  post-mortem: {known.get('postmortem') or 'not written yet'}",
    ]
    lines += _listed("what changed since it was last good:", known.get("changes"), "text")
    lines.append("timeline:")
    for entry in known.get("timeline") or []:
        if isinstance(entry, dict):
            lines.append(f"  {clock(entry.get('at'))}  {one_line(entry.get('text') or entry.get('kind') or '')}")
        else:
            lines.append(f"  {one_line(entry)}")
    lines.append("last log lines:")
    lines.extend(f"  {one_line(line)}" for line in known.get("log_lines") or [])
    lines += _listed("what you can do:", known.get("next"))
    return lines


def _verdict(known: dict[str, Any]) -> list[str]:
    """The likely cause, what it rests on, and how often this happened."""
    from holdfast.cli.render import one_line

    lines = []
    if known.get("likely"):
        sure = known.get("confidence")
        lines.append(f"  most likely: {one_line(known['likely'])}" + (f" ({sure})" if sure != "none" else ""))
    lines += [f"    because: {one_line(line)}" for line in (known.get("verdict") or {}).get("because") or []]
    if known.get("function"):
        lines.append(f"  hung in: {one_line(known['function'])}")
    earlier = known.get("similar") or []
    if earlier:
        lines.append(f"  number {known.get('nth')} of this kind in 7 days; before it {earlier[0].get('id')}")
    return lines


def _listed(title: str, entries: Any, key: str = "") -> list[str]:
    from holdfast.cli.render import one_line

    shown = [f"  {one_line(entry.get(key) if key else entry)}" for entry in entries or []]
    return [title, *shown] if shown else []
