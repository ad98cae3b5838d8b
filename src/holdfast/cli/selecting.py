"""Which agents a command is about: names, -l/--selector, --all. The same options and the same meaning everywhere.

Invariant: names that do not exist and a selector that chooses nobody are told before anything is done. A command
that acts needs a choice; one that only shows is about everybody without one. Called by ps, top, start, stop, restart,
describe, events and others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast import errors
from holdfast.cli.session import complete_selector
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.cli.client import KeeperClient

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for. Nothing of it: everybody."""

    names: tuple[str, ...] = ()
    selector: str | None = None
    everybody: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nothing was asked for."""
        return not (self.names or self.selector or self.everybody)


def check_selector(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Callback of --selector: a text that is none is a mistake in the command line."""
    from holdfast.spec import selector

    if value is not None:
        try:
            selector.parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from error
    return value


def selector_option(command: Decorated) -> Decorated:
    """-l/--selector."""
    return click.option(
        "-l",
        "--selector",
        metavar="LABELS",
        callback=check_selector,
        shell_complete=complete_selector,
        help="Only agents with these labels, e.g. team=research or 'tier in (web, api), !canary'.",
    )(command)


def all_option(command: Decorated) -> Decorated:
    """--all."""
    return click.option("--all", "everybody", is_flag=True, help="Every agent.")(command)


def status_of(client: KeeperClient, choice: Choice) -> dict[str, Any]:
    """The status with the chosen agents only. Raises AGENT_NOT_FOUND."""
    query = {"selector": choice.selector} if choice.selector else {}
    status: dict[str, Any] = client.get("/v1/status", **query)
    if choice.names:
        status["agents"] = _named(status.get("agents", []), choice)
    return status


def chosen(client: KeeperClient, choice: Choice, *, has_all: bool = True) -> list[Row]:
    """The rows of the chosen agents, for a command that acts: names in the order given, else as `ps` shows them.

    `has_all`: the command knows --all. Raises USAGE when nothing was chosen, AGENT_NOT_FOUND and NO_AGENT_MATCHES.
    """
    if choice.is_open:
        raise click.UsageError(f"name agents, or choose them by --selector LABELS{' or --all' if has_all else ''}")
    if choice.everybody and (choice.names or choice.selector):
        raise click.UsageError("--all stands alone: leave the names and the selector out")
    rows: list[Row] = status_of(client, choice)["agents"]
    if choice.selector and not rows:
        raise HoldfastError(errors.NO_AGENT_MATCHES, selector=choice.selector)
    return rows


def _named(rows: Sequence[Row], choice: Choice) -> list[Row]:
    found = {row["name"]: row for row in rows}
    for name in choice.names:
        if name not in found and not choice.selector:
            raise HoldfastError(errors.AGENT_NOT_FOUND, agent=name)
    return [found[name] for name in dict.fromkeys(choice.names) if name in found]
