"""What one command line asks for: which home, and whether people or programs read the answer.

Every command receives one `Session`. `Command` gives each command the global options, so that `--home` and `--json`
may stand before or after the subcommand, and prints its examples under `--help`. Called by every module of this
package; imports nothing heavy, so that the command line starts fast.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from holdfast.home import Home, find_home

if TYPE_CHECKING:
    from holdfast.cli.client import KeeperClient


@dataclass(slots=True)
class Session:
    """Options that hold for the whole command line."""

    home_option: str | None = None
    as_json: bool = False

    @property
    def home(self) -> Home:
        return find_home(self.home_option)

    def client(self, timeout_s: float = 30.0) -> KeeperClient:
        """A client of this home's keeper; connects at the first request."""
        from holdfast.cli.client import KeeperClient

        return KeeperClient(self.home, timeout_s=timeout_s)

    def say(self, text: str) -> None:
        """A line for a person on standard output; programs get JSON instead."""
        if not self.as_json:
            click.echo(text)

    def hint(self, text: str) -> None:
        """A line for a person on standard error; programs are not bothered."""
        if not self.as_json:
            click.echo(text, err=True)

    def answer(self, value: object) -> None:
        """The JSON answer, one line."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()


pass_session = click.make_pass_decorator(Session, ensure=True)


def _remember_home(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Session).home_option = value


def _remember_json(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).as_json = True


def global_options() -> list[click.Parameter]:
    """`--home` and `--json`; their callbacks write into the session."""
    return [
        click.Option(
            ["--home"],
            metavar="DIR",
            expose_value=False,
            callback=_remember_home,
            help="Where this Holdfast lives (else HOLDFAST_HOME, /var/lib/holdfast as root, ~/.holdfast).",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_remember_json,
            help="Answer in JSON.",
        ),
    ]


class Command(click.Command):
    """A command with the global options and with examples under its help."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.params.extend(global_options())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_examples(self.examples, formatter)


class Group(click.Group):
    """A group of commands, likewise."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.params.extend(global_options())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a mistyped name is answered with what was probably meant."""
        is_name = args and not args[0].startswith("-") and not ctx.resilient_parsing
        if is_name and self.get_command(ctx, args[0]) is None and (meant := self.meant(ctx, args[0])):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {meant!r}?")
        return super().resolve_command(ctx, args)

    def meant(self, ctx: click.Context, name: str) -> str:
        """The command that `name` probably stands for, "" when there is none like it."""
        import difflib

        found = difflib.get_close_matches(name.lower(), self.list_commands(ctx), n=1, cutoff=0.6)
        return found[0] if found else ""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        write_examples(self.examples, formatter)


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    if not examples:
        return
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def complete_agent(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of agents for the shell; empty when no keeper answers, never an error."""
    return [row["name"] for row in _rows(context, "/v1/status", "agents") if row["name"].startswith(incomplete)]


def complete_selector(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Labels in use as `key=value`; behind a comma the next one."""
    before, comma, begun = incomplete.rpartition(",")
    pairs = {
        f"{key}={value}"
        for row in _rows(context, "/v1/status", "agents")
        for key, value in (row.get("labels") or {}).items()
    }
    return [f"{before}{comma}{pair}" for pair in sorted(pairs) if pair.startswith(begun)]


def complete_incident(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Agents, which mean their newest incident, and ids of incidents, the newest first."""
    rows = _rows(context, "/v1/incidents", "incidents")
    ids = [row["id"] for row in reversed(rows) if row["id"].startswith(incomplete)]
    return [*complete_agent(context, parameter, incomplete), *ids]


def deleted_agents(context: click.Context) -> list[str]:
    """Names of agents that were removed and can be brought back."""
    return [row["agent"] for row in _rows(context, "/v1/deleted", "agents")]


def complete_snapshot(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The newest snapshots of the agent named before, and the words that mean one."""
    agent = context.params.get("agent")
    rows = _rows(context, f"/v1/agents/{agent}/snapshots", "snapshots") if agent else []
    shown = ["newest", "known-good", *(row["id"][:12] for row in reversed(rows[-20:]))]
    return [one for one in shown if one.startswith(incomplete)]


def _rows(context: click.Context, path: str, key: str) -> list[dict[str, Any]]:
    """What the keeper knows, for the shell: empty when none answers in time, or nothing that makes sense."""
    from holdfast.errors import HoldfastError

    session = context.ensure_object(Session)
    try:
        found = session.client(timeout_s=1.0).get(path)[key]
    except (HoldfastError, OSError, KeyError, TypeError):
        return []
    return list(found)
