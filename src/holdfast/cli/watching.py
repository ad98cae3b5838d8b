"""Watching a fleet until it is as wanted, or for as long as a person looks: shared by up and run.

On a terminal the table is redrawn in place; elsewhere one line is printed for each change.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from holdfast import errors
from holdfast.cli.client import KeeperClient
from holdfast.cli.fleet_view import Status, awaited, changes, gist, status_lines
from holdfast.cli.render import wrap
from holdfast.cli.session import Session
from holdfast.errors import HoldfastError

LOOK_S = 0.25
TABLE_S = 0.5


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def wait_until_healthy(session: Session, client: KeeperClient, names: set[str] | None, timeout_s: float) -> Status:
    """Wait until the agents in `names` (None: all) are as wanted. Raises WAIT_TIMED_OUT naming those which are not."""
    deadline_mono = time.monotonic() + timeout_s
    before: Status | None = None
    waiting: list[str] = []
    while True:
        status = look(client)
        if status is not None:
            waiting = [name for name in awaited(status) if names is None or name in names]
            tell_changes(session, before, status)
            before = status
            if not waiting:
                return status
        if time.monotonic() >= deadline_mono:
            raise HoldfastError(
                errors.WAIT_TIMED_OUT, timeout_s=f"{timeout_s:g}", agents=", ".join(waiting) or "the keeper"
            )
        time.sleep(LOOK_S)


def watch(
    session: Session,
    client: KeeperClient,
    ask: Callable[[], Status] | None = None,
    *,
    footer: str = "Ctrl-C stops everything gracefully; `holdfast up -d` leaves it running",
) -> None:
    """Show the fleet, or what `ask` answers, until interrupted, or until Holdfast is gone for good."""

    def seen() -> Status | None:
        return look(client, ask)

    if sys.stdout.isatty() and not session.as_json:
        _watch_table(session, seen, footer)
    else:
        _watch_lines(session, seen)


def look(client: KeeperClient, ask: Callable[[], Status] | None = None) -> Status | None:
    """The status now; None while the keeper is being replaced."""
    try:
        answer = client.get("/v1/status") if ask is None else ask()
    except HoldfastError as error:
        if error.kind.code == errors.KEEPER_UNREACHABLE.code:
            return None
        raise
    return answer if isinstance(answer, dict) else None


def tell_changes(session: Session, before: Status | None, status: Status) -> None:
    """One line for each change; as JSON the changed rows themselves."""
    if session.as_json:
        was = {row["name"]: row for row in (before or {}).get("agents", [])}
        for row in status.get("agents", []):
            if gist(was.get(row["name"])) != gist(row):
                session.answer({"agent": row})
        return
    for line in changes(before, status):
        click.echo(f"{time.strftime('%H:%M:%S')} {line}")


def _watch_lines(session: Session, seen: Callable[[], Status | None]) -> None:
    from holdfast.cli.starting import is_owned

    before: Status | None = None
    while is_owned(session.home):
        status = seen()
        if status is not None:
            tell_changes(session, before, status)
            before = status
        time.sleep(LOOK_S)


def _watch_table(session: Session, seen: Callable[[], Status | None], footer: str) -> None:
    from rich.live import Live
    from rich.text import Text

    from holdfast.cli.starting import is_owned

    with Live(Text("…"), auto_refresh=False, transient=False) as live:
        while is_owned(session.home):
            status = seen()
            if status is None:
                live.update(Text("the keeper is being replaced; agents are not affected"), refresh=True)
            else:
                lines = [*status_lines(status, live.console.width), *wrap(footer, live.console.width)]
                live.update(Text.from_ansi("\n".join(within(lines, live.console.height))), refresh=True)
            time.sleep(TABLE_S)


def within(lines: list[str], height: int) -> list[str]:
    """At most `height` lines: the first and the last ones, and how many are missing between them."""
    if len(lines) <= height:
        return lines
    tail = lines[-2:] if height > 4 else lines[-1:]
    head = lines[: max(0, height - len(tail) - 1)]
    return [*head, f"… {len(lines) - len(head) - len(tail)} more lines; see `holdfast top`", *tail]
