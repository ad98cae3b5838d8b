"""`holdfast describe`: all that is known about an agent, and what lies ahead of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from holdfast import errors
from holdfast.cli.describe_memory import memory_pairs
from holdfast.cli.selecting import Choice, all_option, chosen, selector_option
from holdfast.cli.session import Command, Session, complete_agent, pass_session
from holdfast.errors import HoldfastError

Known = dict[str, Any]
MARK_OF = {"ok": "ok", "degraded": "degraded", "failing": "FAILING", "unknown": "unknown"}


@click.command(
    cls=Command,
    examples=[
        "holdfast describe assistant",
        "holdfast describe assistant --config",
        "holdfast describe -l team=research",
        "holdfast describe assistant --json",
    ],
)
@click.argument("agents", nargs=-1, metavar="[AGENT]...", shell_complete=complete_agent)
@selector_option
@all_option
@click.option("--config", is_flag=True, help="Also every setting in force, and where each one comes from.")
@pass_session
def describe(session: Session, agents: tuple[str, ...], selector: str | None, everybody: bool, config: bool) -> None:
    """Show agents: state, budgets, last deaths, what each source says, what happens next, place and limits.

    Secrets are masked.
    """
    from holdfast.cli.render import terminal_width

    client = session.client()
    choice = Choice(agents, selector, everybody)
    named = agents and not (selector or everybody)
    names = list(dict.fromkeys(agents)) if named else [row["name"] for row in chosen(client, choice)]
    found = [client.get(f"/v1/agents/{name}") for name in names]
    settings = [_settings(session, known) if config else None for known in found]
    if session.as_json:
        for known, rows in zip(found, settings, strict=True):
            session.answer(known if rows is None else {**known, "config": rows})
        return
    width = terminal_width()
    for number, (known, rows) in enumerate(zip(found, settings, strict=True)):
        if number:
            click.echo()
        click.echo("\n".join(describe_lines(known, width)))
        if rows is not None:
            click.echo("\n".join(config_lines(rows, width)))


def describe_lines(known: Known, width: int | None = None) -> list[str]:
    """The sections, top to bottom. With `width` no line is longer."""
    from holdfast.cli.fleet_view import why_next
    from holdfast.cli.render import paint, wrap

    lines = [f"{known.get('name')}: {known.get('phase')}"]
    lines += _indented(wrap(why_next(known), None if width is None else width - 2))
    for title, pairs in _sections(known):
        shown = [(key, value) for key, value in pairs if value]
        if shown:
            lines.append(paint(title, "cyan"))
            lines += pair_lines(shown, width)
    return lines


def pair_lines(pairs: list[tuple[str, str]], width: int | None) -> list[str]:
    """`key  value` with values wrapped between words under each other."""
    from holdfast.cli.render import wrap

    widest = max(len(key) for key, _ in pairs)
    narrow = width is not None and width - widest - 4 < 20
    indent = 4 if narrow else widest + 4
    lines: list[str] = []
    for key, value in pairs:
        parts = wrap(value, None if width is None else width - indent)
        if narrow:
            lines += [f"  {key}", *(" " * indent + part for part in parts)]
        else:
            lines += [f"  {key.ljust(widest)}  {parts[0]}", *(" " * indent + part for part in parts[1:])]
    return lines


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines if line]


def _sections(known: Known) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    yield "state", _state(known)
    yield "memory", memory_pairs(known)
    yield "budgets", _budgets(known)
    yield "observed", _observed(known)
    yield "last deaths", _deaths(known)
    yield "ahead", _ahead(known)
    yield "versions of its state", _versions(known)
    yield "place", _place(known)
    yield "spec, where it differs from the defaults", _spec(known)


def _state(known: Known) -> list[tuple[str, str]]:
    from holdfast.cli.fleet_view import health_text
    from holdfast.cli.render import NOTHING, duration, one_line, size

    beat, labels = known.get("beat") or {}, known.get("labels") or {}
    used = known.get("usage_bytes")  # as `ps` shows it, where it is read
    memory = size(known.get("rss_bytes") if used is None or not known.get("pid") else used)
    limit = ((known.get("spec") or {}).get("limits") or {}).get("memory_bytes")
    return [
        ("health", f"{health_text(known)} (process/endpoint/behaviour)"),
        ("pid", str(known.get("pid") or NOTHING)),
        ("instance", str(known.get("instance", NOTHING))),
        ("up", duration(known.get("uptime_s"))),
        ("memory", f"{memory} of {size(limit)}" if limit else memory),
        ("restarts", str(known.get("restarts", 0))),
        ("says", one_line(beat.get("status") or "")),
        ("last beat", duration(beat.get("last_s")) + " ago" if beat.get("last_s") is not None else ""),
        ("labels", one_line(", ".join(f"{key}={value}" for key, value in labels.items()))),
        ("priority", str(known.get("priority", ""))),
    ]


def _budgets(known: Known) -> list[tuple[str, str]]:
    from holdfast.cli.render import duration, one_line

    outlook = known.get("outlook") or {}
    rows = [("tier now", str(known.get("tier", 0)))] if known.get("tier") else []
    for one in outlook.get("budgets") or []:
        words = f"{one.get('left')} of {one.get('total')} left"
        if one.get("back_in_s") is not None:
            words += f", the next comes back in {duration(one['back_in_s'])}"
        rows.append(
            (f"{one.get('tier')} {one.get('name')}", words + (f"; {one_line(one['why'])}" if one.get("why") else ""))
        )
    if outlook.get("quiet_tries"):
        rows.append(("4 alert", f"{outlook['quiet_tries']} quiet tries since a person was told"))
    return rows


def _observed(known: Known) -> list[tuple[str, str]]:
    from holdfast.cli.render import one_line

    return [
        (str(one.get("source")), one_line(f"{MARK_OF.get(one.get('judgement'), '')} {one.get('detail') or ''}"))
        for one in (known.get("outlook") or {}).get("observed") or []
    ]


def _versions(known: Known) -> list[tuple[str, str]]:
    from holdfast.cli.render import one_line
    from holdfast.cli.state_view import age, count, now, short

    kept = known.get("versions")
    if not kept:
        return []
    rows = [("kept", count(kept.get("snapshots"), "snapshot"))]
    for title, key in (("newest", "newest"), ("known-good", "known_good")):
        one = kept.get(key)
        rows.append((title, f"{short(one['id'])}, {age(one['at'], now())}" if one else "none yet"))
    rows.append(("2nd place", one_line(kept.get("store") or "none")))
    return [*rows, *(("warning", one_line(text)) for text in kept.get("trouble") or [])]


def _deaths(known: Known) -> list[tuple[str, str]]:
    from holdfast.cli.render import clock, duration, one_line

    rows = []
    for death in known.get("deaths") or []:
        parts = [
            one_line(death.get("exit") or "unknown"),
            f"lived {duration(death.get('lived_s'))}",
            one_line(death.get("cause") or ""),
            f"instance {death.get('instance')}",
        ]
        rows.append((clock(death.get("at")), "  ".join(part for part in parts if part)))
    return rows or [("none", "it never died unasked")]


def _ahead(known: Known) -> list[tuple[str, str]]:
    from holdfast.cli.render import clock, duration, one_line

    outlook = known.get("outlook") or {}
    in_s, turns_at = outlook.get("next_in_s"), outlook.get("maintenance_turns_at")
    maintenance = "on: nothing is restarted and nobody is told" if outlook.get("maintenance") else ""
    if turns_at is not None:
        maintenance += f", until {clock(turns_at)}" if maintenance else f"off, from {clock(turns_at)} on"
    planned_at = outlook.get("planned_restart_at")
    return [
        ("next", one_line(known.get("next") or "")),
        ("due in", duration(in_s) if in_s is not None else ""),
        ("incident", f"{outlook['incident']} (open)" if outlook.get("incident") else ""),
        ("planned restart", clock(planned_at) if planned_at is not None else ""),
        ("maintenance", maintenance),
    ]


def _place(known: Known) -> list[tuple[str, str]]:
    from holdfast.cli.render import duration, one_line

    pod = known.get("pod") or {}
    user = " ".join(
        str(part) for part in (pod.get("user"), f"(uid {pod['uid']})" if pod.get("uid") is not None else "") if part
    )
    rows = [
        ("user", one_line(f"{user}: {pod['user_why']}" if user and pod.get("user_why") else user)),
        ("directory", one_line((known.get("spec") or {}).get("working_dir") or "")),
        ("cgroup", one_line(pod.get("cgroup_v2") or ", ".join(pod.get("cgroup_v1") or []))),
        ("temporary", one_line(pod.get("tmpdir") or "")),
    ]
    for limit in pod.get("limits") or []:
        held = f"held by {limit.get('by')}" if limit.get("held") else f"NOT held: {limit.get('why')}"
        rows.append((f"limit {limit.get('name')}", one_line(f"{_amount(limit)}, {held}")))
    for note in pod.get("notes") or []:
        rows.append(
            (str(note.get("code", "note")), one_line(f"{note.get('message', '')} Next: {note.get('next', '')}"))
        )
    permit = known.get("permit")
    if permit:
        delays = ["at once" if not delay else f"after {duration(delay)}" for delay in permit.get("delays_s") or []]
        rows.append(("permit", f"init restarts it without asking: {', '.join(delays)}" if delays else "none left"))
    return rows


def _amount(limit: Known) -> str:
    from holdfast.cli.render import size

    value = limit.get("value")
    return size(value) if limit.get("name") == "memory" else f"{value:g}" if isinstance(value, int | float) else "?"


def _spec(known: Known) -> list[tuple[str, str]]:
    """What differs from the defaults and is not said elsewhere, flat: `health.http.url`."""
    import msgspec

    from holdfast.cli.render import one_line
    from holdfast.spec.model import AgentSpec

    usual = dict(flat(msgspec.to_builtins(AgentSpec(name="", command=(), working_dir=""))))
    skipped = {"name", "labels", "priority", "working_dir", "limits"}
    spec = {key: value for key, value in (known.get("spec") or {}).items() if key not in skipped}
    return [(key, one_line(value)) for key, value in flat(spec) if usual.get(key) != value]


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as `dotted.key`, `text`; what is empty or absent is left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(item, dict | list | tuple) for item in value):
        for number, item in enumerate(value, start=1):
            yield from flat(item, f"{prefix}.{number}")
    elif value not in (None, "", [], (), {}):
        words = " ".join(map(str, value)) if isinstance(value, list | tuple) else value
        yield prefix, f"{words:g}" if isinstance(words, float) else str(words)


# --- --config ----------------------------------------------------------------------------------------------------
def _settings(session: Session, known: Known) -> list[dict[str, str]]:
    """Every setting in force, with its source where the file still says the same; else without."""
    from pathlib import Path

    import msgspec

    from holdfast import recipes
    from holdfast.keeper.fleet import masked_agent

    name, spec = str(known.get("name")), known.get("spec") or {}
    source = str(session.client().get("/v1/fleet").get("source") or "")
    unknown = [{"field": key, "value": value, "source": "", "why": ""} for key, value in flat(spec)]
    if not source:
        return unknown
    try:
        loaded = recipes.read(Path(source))
    except HoldfastError as error:
        if error.kind.code not in (errors.SPEC_NOT_FOUND.code, errors.SPEC_INVALID.code, errors.SPEC_UNREADABLE.code):
            raise
        session.hint(f"{source} cannot be read any more, so where settings come from is not known")
        return unknown
    declared = next((agent for agent in loaded.fleet.agents if agent.name == name), None)
    if declared is None or msgspec.json.decode(msgspec.json.encode(masked_agent(declared))) != spec:
        session.hint(f"{source} was changed since `holdfast up`; this is what is in force")
        return unknown
    return [
        {"field": row.field, "value": row.value, "source": row.source, "why": row.why}
        for row in recipes.effective(loaded)
        if row.agent == name
    ]


def config_lines(rows: list[dict[str, str]], width: int | None) -> list[str]:
    from holdfast.cli.render import one_line, paint, table

    cells = [(row["field"], one_line(row["source"]) or "-", one_line(row["value"])) for row in rows]
    return [paint("config", "cyan"), *table(("KEY", "FROM", "VALUE"), cells, width=width)]
