"""`holdfast describe AGENT`: all that is known about one agent."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli.session import Command, Session, complete_agent, pass_session


@click.command(cls=Command, examples=["holdfast describe assistant", "holdfast describe assistant --json"])
@click.argument("agent", shell_complete=complete_agent)
@pass_session
def describe(session: Session, agent: str) -> None:
    """Show one agent: its state, last deaths, place and specification (secrets masked)."""
    known = session.client().get(f"/v1/agents/{agent}")
    if session.as_json:
        session.answer(known)
    else:
        click.echo("\n".join(describe_lines(known)))


def describe_lines(known: dict[str, Any]) -> list[str]:
    """The sections, top to bottom: state, deaths, pod, spec and the rest as `key: value` trees."""
    from holdfast.cli.fleet_view import agent_cells, health_text, why_next
    from holdfast.cli.render import clock, duration, one_line

    cells = agent_cells(known)
    lines = [
        f"{known.get('name')}: {known.get('phase')}",
        f"  {why_next(known)}",
        f"  pid {cells[3]}  instance {known.get('instance')}  up {cells[4]}  memory {cells[7]}",
        f"  health {health_text(known)}  restarts {cells[5]}  tier {cells[6]}",
    ]
    lines.append("last deaths:")
    deaths = known.get("deaths") or []
    for death in deaths:
        parts = (
            clock(death.get("at")),
            f"instance {death.get('instance')}",
            one_line(death.get("exit") or "unknown"),
            f"lived {duration(death.get('lived_s'))}",
            one_line(death.get("cause") or ""),
        )
        lines.append("  " + "  ".join(part for part in parts if part))
    if not deaths:
        lines.append("  none")
    for section in ("ladder", "permit", "pod", "spec"):
        if known.get(section):
            lines.append(f"{section}:")
            lines.extend(_tree(known[section], "  "))
    return lines


def _tree(value: Any, indent: str) -> list[str]:
    """Nested values as indented lines; what is empty or absent is left out."""
    from holdfast.cli.render import one_line

    lines: list[str] = []
    pairs = value.items() if isinstance(value, dict) else [("", value)]
    for key, inner in pairs:
        if inner is None or inner == "" or inner == [] or inner == {}:
            continue
        if isinstance(inner, dict):
            lines.append(f"{indent}{key}:")
            lines.extend(_tree(inner, indent + "  "))
        elif isinstance(inner, list) and any(isinstance(item, dict) for item in inner):
            lines.append(f"{indent}{key}:")
            for item in inner:
                nested = _tree(item, indent + "    ")
                lines.extend([f"{indent}  - {nested[0].lstrip()}", *nested[1:]] if nested else [])
        else:
            shown = ", ".join(map(str, inner)) if isinstance(inner, list) else inner
            lines.append(f"{indent}{key}: {one_line(shown)}" if key else f"{indent}{one_line(shown)}")
    return lines
